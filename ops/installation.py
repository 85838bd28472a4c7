"""One running installation: servers, migration, processes, and the way back down."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

import psycopg

from ops.child import ChildSpec
from ops.data_folder import kept_secret, lock_file, prepare_folder
from ops.failures import ProcessDidNotStart
from ops.inherited import HTTP, SHARD, UDP, Sockets
from ops.listening import (
    open_announce_listeners,
    open_listeners,
    open_shard_link,
    open_udp_groups,
)
from ops.migrations.server import log_facts
from ops.run_state import (
    UP_LOCK,
    RunState,
    Urls,
    remove_run_state,
    secret_value,
    write_run_state,
)
from ops.servers import check_given_servers, embedded_servers, migrate_to
from ops.settings import Settings
from ops.setup_code import setup_code
from ops.supervisor import Supervisor

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RESTART_SIGNAL = signal.SIGUSR1
# The order they stop in: nobody asks any more, then nobody announces, then the work runs dry.
PROCESSES = ("api", "tracker", "scheduler", "worker")
OPERATOR_TOKEN_BYTES = 32

ProcessCommand = Callable[[str], tuple[str, ...]]


class _StopRequested(BaseException):
    """A stop was asked for before the processes ran; unwinds what was started."""


def program_command(name: str) -> tuple[str, ...]:
    """The command line of our own process `name`."""
    return (sys.executable, "-m", "ops.cli", name)


def run_installation(
    settings: Settings, *, demo: bool = False, command_of: ProcessCommand = program_command
) -> int:
    """Start, follow, and stop when asked to; the exit code. Raises OperatorError before harm."""
    try:
        with _stop_raises() as check_stop, ExitStack() as stack:
            _run(settings, stack, check_stop, demo=demo, command_of=command_of)
    except _StopRequested:
        pass
    print_line("up", "stopped")
    return 0


def print_line(name: str, line: str) -> None:
    """One line of one process, readable beside the others'."""
    try:
        print(f"{name:<10}| {line}", flush=True)
    except OSError:
        # The terminal is gone; stopping in order matters more than what nobody can read.
        return


def _run(
    settings: Settings,
    stack: ExitStack,
    check_stop: Callable[[], None],
    *,
    demo: bool,
    command_of: ProcessCommand,
) -> None:
    data_dir = settings.storage.data_dir.absolute()
    prepare_folder(data_dir)
    stack.enter_context(lock_file(data_dir / UP_LOCK))
    # One a killed run left would send commands to servers that are gone.
    remove_run_state(data_dir)
    sockets = open_sockets(settings, stack)
    for weakness in check_given_servers(settings):
        print_line("up", f"warning: Redis is weak, {weakness}")
    servers = embedded_servers(settings)
    print_line("up", f"starting the servers in {data_dir}")
    stack.callback(servers.stop)
    started = servers.start()
    check_stop()
    migrated = migrate_to(started.database_url, settings)
    if not migrated.protected:
        print_line("up", "warning: the log is not protected from the login the processes use")
    urls = Urls(started.database_url, migrated.app_conninfo, started.redis_url)

    def write_state() -> None:
        pids = {**supervisor.pids, **servers.pids}
        write_run_state(data_dir, _state(settings, urls, pids))

    supervisor = Supervisor(
        process_specs(settings, urls, sockets, command_of),
        print_line=print_line,
        revive=servers.restart_dead,
        on_change=write_state,
    )
    stack.callback(remove_run_state, data_dir)
    stack.callback(supervisor.stop)
    supervisor.install_signals(STOP_SIGNALS)
    signal.signal(RESTART_SIGNAL, supervisor.request_restart)
    check_stop()
    print_line("up", f"starting {', '.join(PROCESSES)}")
    supervisor.start()
    if demo and not supervisor.stopping:
        _fill(supervisor, command_of)
    if not supervisor.stopping:
        for line in next_steps(settings, begun=_has_begun(urls)):
            print_line("up", line)
    supervisor.run()


def open_sockets(settings: Settings, stack: ExitStack) -> dict[str, Sockets]:
    """The listening sockets of each process, by its name; open until the stack is unwound.

    They are ours, so a process that dies or is replaced refuses and drops nothing: connections
    wait in the backlog, datagrams in their buffer. Raises PortTaken.
    """
    network, shards = settings.network, settings.processes.tracker_shards

    def kept(sockets: Sequence[socket.socket]) -> Sequence[socket.socket]:
        for one in sockets:
            stack.callback(one.close)
        return sockets

    api = kept(open_listeners(network, network.api_port, port_key="TRACKARR_API_PORT"))
    http = kept(open_announce_listeners(network, settings.tracker.socket))
    groups = [kept(group) for group in open_udp_groups(network, shards)]
    opened: dict[str, Sockets] = {"api": {HTTP: api}}
    for shard, udp in enumerate(groups):
        link = kept([open_shard_link(settings.storage.run_dir, shard)] if shards > 1 else [])
        opened[_title("tracker", shard)] = {HTTP: http, UDP: udp, SHARD: link}
    return opened


def process_specs(
    settings: Settings,
    urls: Urls,
    sockets: Mapping[str, Sockets],
    command_of: ProcessCommand = program_command,
) -> list[ChildSpec]:
    """The processes of this host, in the order they stop."""
    environment = {
        # As the loader refuses a value and a file together, the file is emptied.
        "DATABASE_URL": urls.app_url,
        "DATABASE_URL_FILE": "",
        "REDIS_URL": urls.redis_url,
        "REDIS_URL_FILE": "",
        "TRACKARR_DATA_DIR": str(settings.storage.data_dir.absolute()),
        "PYTHONUNBUFFERED": "1",
    }
    token = operator_token(settings)
    environment |= {"TRACKARR_OPERATOR_TOKEN": token, "TRACKARR_OPERATOR_TOKEN_FILE": ""}
    code = setup_code(settings)
    if code:
        environment |= {"TRACKARR_SETUP_CODE": code, "TRACKARR_SETUP_CODE_FILE": ""}
    counts = {
        "tracker": settings.processes.tracker_shards,
        "worker": settings.processes.worker_processes,
    }
    specs = []
    for name in PROCESSES:
        for number in range(counts.get(name, 1)):
            title = _title(name, number)
            own = {"TRACKARR_TRACKER_SHARD": str(number)} if name == "tracker" else {}
            handed = sockets.get(title, {})
            specs.append(
                ChildSpec(
                    title,
                    command_of(name),
                    environment | own,
                    sockets=handed,
                    beside=bool(handed),
                )
            )
    return specs


def _title(name: str, number: int) -> str:
    return name if number == 0 else f"{name}-{number + 1}"


def operator_token(settings: Settings) -> str:
    """What commands on this data folder show to the API, so that it does not count them."""
    given = secret_value(settings.protection.operator_token)
    return given or kept_secret(
        settings.storage.data_dir / "operator-token.secret", OPERATOR_TOKEN_BYTES
    )


def next_steps(settings: Settings, *, begun: bool) -> list[str]:
    """What an operator reads once all is ready; the site has `begun` with its first account."""
    network = settings.network
    lines = [
        "ready",
        f"  API        {network.web_url}/api (described at {network.web_url}/docs)",
        f"  announces  {network.http_announce_url}/<key>",
    ]
    if begun:
        return [*lines, "next: sign in, or look around with trackarr audit; Ctrl-C stops all"]
    code = setup_code(settings)
    if code:
        lines.append(f"  setup code {code} (the first registration needs it; trackarr setup-code)")
    lines.append("next: register the first account, it becomes the administrator; Ctrl-C stops all")
    return lines


def _has_begun(urls: Urls) -> bool:
    try:
        log = log_facts(urls.app_url)
    except psycopg.Error:
        # The database went away this moment: the processes say so, and go on when it is back.
        return False
    return log is not None and log.begun


def _state(settings: Settings, urls: Urls, pids: dict[str, int]) -> RunState:
    network = settings.network
    ports = {"api": network.api_port, "tracker": network.tracker_port, "udp": network.udp_port}
    return RunState(
        urls=urls, pids=pids, ports=ports, public_url=network.web_url, supervisor=os.getpid()
    )


def _fill(supervisor: Supervisor, command_of: ProcessCommand) -> None:
    code = supervisor.run_once(ChildSpec("demo", command_of("demo")))
    if code != 0:
        raise ProcessDidNotStart("The demo content could not be made; its lines are above.")


@contextmanager
def _stop_raises(
    signals: Sequence[signal.Signals] = STOP_SIGNALS,
) -> Iterator[Callable[[], None]]:
    """Until the supervisor takes over, a stop signal unwinds the start.

    An exception raised in a finalizer or a fork hook is swallowed by Python, so the caller
    asks again after each step with what is yielded here.
    """
    requested = False

    def check_stop() -> None:
        if requested:
            raise _StopRequested

    def unwind(_number: int, _frame: FrameType | None) -> None:
        nonlocal requested
        requested = True
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise _StopRequested

    before = {number: signal.signal(number, unwind) for number in signals}
    try:
        yield check_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
