"""`trackarr demo`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ops.container.operator import operator
from ops.demo import DemoMember, DemoPlace, DemoRefused, fill, local_host
from ops.installation import operator_token
from ops.run_state import RunState, read_run_state, settings_at
from ops.servers import connected
from ops.settings import Settings, load_settings
from ops.setup_code import setup_code

GIB = 1 << 30


def command() -> None:
    """Fill a new, running installation with members, torrents and a swarm to look at."""
    settings = load_settings()
    running = read_run_state(settings.storage.data_dir)
    if running is None:
        raise DemoRefused(
            "Trackarr does not run on this data folder; run ./ops/up --demo, or ./ops/up first."
        )
    with connected(settings) as urls, operator(settings_at(settings, urls)) as acting:
        members = fill(_place(settings, running), acting, _say)
    for line in _summary(members, running, settings):
        _say(line)


def _place(settings: Settings, running: RunState) -> DemoPlace:
    host = local_host(settings.network.bind)
    return DemoPlace(
        api_url=f"http://{host}:{running.ports['api']}",
        tracker_url=f"http://{host}:{running.ports['tracker']}",
        setup_code=setup_code(settings),
        operator_token=operator_token(settings),
    )


def _summary(members: Sequence[DemoMember], running: RunState, settings: Settings) -> Iterator[str]:
    yield ""
    yield f"{'name':<10} {'password':<14} {'role':<14} {'uploaded':>10} {'downloaded':>10}"
    for member in members:
        figures = f"{member.uploaded / GIB:>6.2f} GiB {member.downloaded / GIB:>6.2f} GiB"
        yield f"{member.name:<10} {member.password:<14} {member.role:<14} {figures}"
    life = settings.tracker.peer_life_seconds // 60
    yield ""
    yield f"The passwords are shown this once. The swarms stay for {life} minutes."
    yield "To try:"
    yield f"  curl -s {running.public_url}/api/torrents"
    yield f"  curl -s {running.public_url}/api/stats/public"
    yield "  .venv/bin/trackarr user show alice"
    yield "  .venv/bin/trackarr audit history --topic torrent."
    yield "  .venv/bin/trackarr audit verify"


def _say(line: str) -> None:
    print(line, flush=True)
