"""Children get ready, crash, come back and stop in order."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.child import ChildSpec
from ops.failures import ProcessDidNotStart, ServerDidNotStart
from ops.supervisor import Supervisor


def spec(
    name: str,
    *flags: str,
    ready_seconds: float = 20,
    stop_seconds: float = 20,
    beside: bool = False,
) -> ChildSpec:
    command = (sys.executable, "-m", "tests.ops.stand_in", name, *flags)
    return ChildSpec(
        name, command, ready_seconds=ready_seconds, stop_seconds=stop_seconds, beside=beside
    )


class Printed:
    """Collects lines; `when` calls an action once at the first line holding a text."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._actions: dict[str, Callable[[], None]] = {}

    def __call__(self, name: str, line: str) -> None:
        self.lines.append(f"{name}: {line}")
        for text in [text for text in self._actions if text in self.lines[-1]]:
            self._actions.pop(text)()

    def when(self, text: str, action: Callable[[], None]) -> None:
        self._actions[text] = action


@pytest.fixture
def printed() -> Printed:
    return Printed()


@pytest.fixture
def supervise(printed: Printed) -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def make(*specs: ChildSpec, revive: Callable[[], tuple[str, ...]] = tuple) -> Supervisor:
        made.append(Supervisor(specs, print_line=printed, revive=revive))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_start_returns_when_all_are_ready(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise(spec("one"), spec("two"))
    supervisor.start()
    assert set(supervisor.pids) == {"one", "two"}


def test_stop_follows_the_given_order(
    supervise: Callable[..., Supervisor], printed: Printed
) -> None:
    supervisor = supervise(spec("one"), spec("two"), spec("three"))
    supervisor.start()
    pids = list(supervisor.pids.values())
    supervisor.stop()
    ends = [line for line in printed.lines if "ends by" in line]
    assert ends == [f"{name}: {name} ends by SIGTERM" for name in ("one", "two", "three")]
    assert not any(alive(pid) for pid in pids)


def test_a_child_that_ends_while_starting_is_a_failure(
    supervise: Callable[..., Supervisor], printed: Printed
) -> None:
    supervisor = supervise(spec("good"), spec("bad", "fails"))
    with pytest.raises(ProcessDidNotStart, match="bad process ended while starting"):
        supervisor.start()
    assert "bad: bad cannot start" in printed.lines


def test_a_child_that_never_gets_ready_is_a_failure(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise(spec("slow", "silent", ready_seconds=0.3))
    with pytest.raises(ProcessDidNotStart, match="slow process was not ready"):
        supervisor.start()


def test_a_killed_child_starts_again(
    supervise: Callable[..., Supervisor], printed: Printed
) -> None:
    supervisor = supervise(spec("one"), spec("two"))
    supervisor.start()
    first = supervisor.pids
    printed.when(
        "one ended (signal 9)", lambda: printed.when("one begins", supervisor.request_stop)
    )
    os.kill(first["one"], signal.SIGKILL)
    supervisor.run()
    assert supervisor.pids["one"] != first["one"]
    assert supervisor.pids["two"] == first["two"]


def test_a_child_that_keeps_crashing_waits_longer_each_time(
    supervise: Callable[..., Supervisor], printed: Printed
) -> None:
    supervisor = supervise(spec("one"))
    supervisor.start()

    def kill() -> None:
        os.kill(supervisor.pids["one"], signal.SIGKILL)

    printed.when("starts again in 0.2 s", lambda: printed.when("one begins", kill))
    printed.when("starts again in 0.4 s", supervisor.request_stop)
    kill()
    supervisor.run()
    assert any("starts again in 0.4 s" in line for line in printed.lines)


def test_a_stubborn_child_is_killed(supervise: Callable[..., Supervisor], printed: Printed) -> None:
    supervisor = supervise(spec("one", "stubborn", stop_seconds=0.3))
    supervisor.start()
    pid = supervisor.pids["one"]
    supervisor.stop()
    assert not alive(pid)
    assert "up: one does not stop and is killed" in printed.lines


def test_dead_servers_are_revived_and_named(
    supervise: Callable[..., Supervisor], printed: Printed
) -> None:
    supervisor = supervise(spec("one"), revive=lambda: ("PostgreSQL",))
    supervisor.start()
    printed.when("PostgreSQL had ended", supervisor.request_stop)
    supervisor.run()
    assert "up: PostgreSQL had ended and was started again" in printed.lines


@pytest.mark.parametrize(
    "trouble", [ServerDidNotStart("Valkey ended."), OSError(errno.ENOSPC, "No space left")]
)
def test_a_server_that_does_not_come_back_is_tried_at_growing_pauses(
    supervise: Callable[..., Supervisor], printed: Printed, trouble: Exception
) -> None:
    def revive() -> tuple[str, ...]:
        raise trouble

    supervisor = supervise(spec("one"), revive=revive)
    supervisor.start()
    printed.when("Next attempt in 0.8 s", supervisor.request_stop)
    supervisor.run()
    told = [line for line in printed.lines if "Next attempt" in line]
    assert [line.rpartition(" in ")[2] for line in told] == ["0.2 s.", "0.4 s.", "0.8 s."]


def test_a_disk_that_is_full_ends_nothing(printed: Printed) -> None:
    def write() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    supervisor = Supervisor([spec("one")], print_line=printed, on_change=write)
    try:
        supervisor.start()
        assert set(supervisor.pids) == {"one"}
        assert (
            "up: the process ids cannot be written down: no space left on device" in printed.lines
        )
    finally:
        supervisor.stop()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class RefusedOnce:
    """Stands for Popen: the system has no room for another process, once."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen
        self.refused = False

    def __call__(self, *given: object, **more: object) -> object:
        if not self.refused:
            self.refused = True
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return self.popen(*given, **more)  # type: ignore[call-overload]


def test_a_system_without_room_for_a_process_ends_nothing(
    printed: Printed, supervise: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = supervise(spec("one"), spec("two"))
    supervisor.start()
    before = dict(supervisor.pids)
    popen = RefusedOnce()
    monkeypatch.setattr(subprocess, "Popen", popen)
    files = open_files()
    printed.when("one begins", supervisor.request_stop)
    os.kill(before["one"], signal.SIGKILL)
    supervisor.run()
    assert popen.refused
    assert any("one cannot be started: resource temporarily" in line for line in printed.lines)
    assert supervisor.pids["one"] != before["one"]
    assert supervisor.pids["two"] == before["two"]
    # One more is the pipe by which the new one will say that it is ready.
    assert open_files() <= files + 1


@pytest.mark.parametrize("beside", [True, False])
def test_a_rolling_restart_without_room_for_a_process_ends_nothing(
    printed: Printed,
    supervise: Callable[..., Supervisor],
    monkeypatch: pytest.MonkeyPatch,
    beside: bool,
) -> None:
    supervisor = supervise(spec("door", beside=beside))
    supervisor.start()
    before = dict(supervisor.pids)
    monkeypatch.setattr(subprocess, "Popen", RefusedOnce())
    printed.when(
        "the old one and the rest go on" if beside else "door begins",
        supervisor.request_stop,
    )
    supervisor.request_restart()
    supervisor.run()
    assert (supervisor.pids["door"] == before["door"]) is beside


def test_a_child_run_once_gives_its_exit_code(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise(spec("one"))
    supervisor.start()
    assert supervisor.run_once(spec("job", "fails")) == 3


def test_a_rolling_restart_starts_listeners_beside_and_stops_others_first(
    supervise: Callable[..., Supervisor], printed: Printed
) -> None:
    supervisor = supervise(spec("door", beside=True), spec("hand"))
    supervisor.start()
    before = supervisor.pids
    printed.when("all processes are replaced", supervisor.request_stop)
    printed.lines.clear()
    supervisor.request_restart()
    supervisor.run()
    said = [line for line in printed.lines if "begins" in line or "ends by" in line]
    assert said == [
        "hand: hand ends by SIGTERM",
        "hand: hand begins",
        "door: door begins",
        "door: door ends by SIGTERM",
    ]
    assert all(supervisor.pids[name] != pid for name, pid in before.items())
    assert not any(alive(pid) for pid in before.values())


def test_a_successor_is_let_in_once_it_is_prepared(
    supervise: Callable[..., Supervisor], printed: Printed
) -> None:
    supervisor = supervise(spec("door", "waits", beside=True))
    supervisor.start()
    printed.when("all processes are replaced", supervisor.request_stop)
    printed.lines.clear()
    supervisor.request_restart()
    supervisor.run()
    said = [line for line in printed.lines if line.startswith("door:")]
    assert said == ["door: door begins", "door: door ends by SIGTERM", "door: door serves"]


def test_a_successor_that_fails_leaves_the_old_one_serving(printed: Printed) -> None:
    broken = ChildSpec("door", (sys.executable, "-c", "raise SystemExit(3)"), beside=True)
    supervisor = Supervisor([spec("door", beside=True), spec("hand")], print_line=printed)
    try:
        supervisor.start()
        before = supervisor.pids
        printed.when("the old one and the rest go on", supervisor.request_stop)
        supervisor._children[0].spec = broken
        supervisor.request_restart()
        supervisor.run()
        assert supervisor.pids["door"] == before["door"]
    finally:
        supervisor.stop()


def test_a_child_inherits_its_sockets(printed: Printed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        handed = ChildSpec(
            "door",
            (sys.executable, "-m", "tests.ops.stand_in", "door", "listens"),
            sockets={"http": [listener], "udp": []},
        )
        supervisor = Supervisor([handed], print_line=printed)
        try:
            supervisor.start()
        finally:
            supervisor.stop()
        assert f"door: http at {listener.getsockname()[1]}, udp 0, shard None" in printed.lines
