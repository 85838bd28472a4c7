"""Writes the snapshots of a running shard: from a fork each minute, and at a clean stop."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from tracker.event_loop import EventLoop
from tracker.event_stream import EventStream, Log
from tracker.redis_link import RedisLink
from tracker.resp import Reply, pack_command
from tracker.snapshot import SnapshotHead
from tracker.snapshot_folder import SnapshotFolder
from tracker.swarms import Swarms
from tracker.wire import StreamPoint, history_name, pack_points, snapshots_name

_TIME_LIMIT: Final = 50
"""Seconds a fork may take before it is ended."""
_NICE: Final = 15
_GO: Final = b"1"
_UNKNOWN_FAULT: Final = 255
_DESCRIPTORS: Final = Path("/proc/self/fd")
_STATED_SECONDS: Final = 300
"""How much longer than a peer's life a statement holds; behind that no snapshot is of use."""

# State two snapshots where the stream still is the one they belong to. A Redis that lost all it
# had has no word for its stream any more: the stream goes on with our ids, so it keeps ours.
# KEYS: history, snapshots.  ARGV: our word, points, seconds.
_STATE: Final = """
redis.call('SET', KEYS[1], ARGV[1], 'NX')
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
return 1
"""


class KeptSnapshot(NamedTuple):
    """The newest usable snapshot on disk, and whether it stands in the place of the newest."""

    head: SnapshotHead
    is_newest: bool


@dataclass(frozen=True)
class ShardIdentity:
    """Whose snapshots they are: layout, shard, the stream's random word, our epoch."""

    layout: int
    shard: int
    history: bytes
    epoch: int

    def head(self, number: int, at: int) -> SnapshotHead:
        """The head of a snapshot that ends with entry `number` of our epoch, at `at` µs."""
        return SnapshotHead(self.layout, self.shard, self.history, self.epoch, number, at)


@dataclass
class _Fork:
    """A running child: told to keep its file once the stream has all that is in it."""

    pid: int
    go: int
    head: SnapshotHead
    began: float
    pause: float
    told: bool = False


class SnapshotWriter:
    """Every minute a fork of this process writes down the swarms as they stand.

    The fork is made when every record of the swarms has its place in an entry of the stream, and
    its file is kept only when Redis acknowledged this entry: so a snapshot holds acknowledged
    records only, and all up to its id. Whatever fails is logged and tried again a minute later,
    and announces go on.
    """

    def __init__(
        self,
        loop: EventLoop,
        *,
        folder: SnapshotFolder,
        identity: ShardIdentity,
        swarms: Swarms,
        stream: EventStream,
        link: RedisLink,
        clock: Callable[[], int],
        kept: KeptSnapshot | None,
        seconds: float,
        log: Log,
    ) -> None:
        """`clock` gives the shard's microseconds, `kept` is what the start found on disk,
        `seconds` is the time between two snapshots.

        To be made after the stream's own `after_round`, as a fork follows its flush.
        """
        self._folder = folder
        self._identity = identity
        self._swarms = swarms
        self._stream = stream
        self._link = link
        self._clock = clock
        self._kept = kept
        self._log = log
        self._seconds = seconds
        self._due = loop.now + seconds
        self._loop = loop
        self._fork: _Fork | None = None
        self._written_at: float | None = None
        self.failing = False
        self.longest_pause = 0.0
        """The longest time a fork stopped answers, in seconds."""
        folder.tidy(time.time() - 2 * swarms.life)
        loop.after_round(self._look)
        loop.on_tick(self._tick)

    @property
    def age(self) -> int | None:
        """Seconds since this process last kept a snapshot, None while it has not."""
        return None if self._written_at is None else round(self._loop.now - self._written_at)

    def finish(self) -> None:
        """At a clean stop, with the stream settled: write the last state down, and wait for it."""
        self.close()
        number = self._stream.reached
        if number is None or not self._stream.settled:
            self._log("snapshot.failed", why="announces of the last moment are not stored")
            return
        head = self._identity.head(number, self._clock())
        began = time.monotonic()
        try:
            self._folder.write(head, self._swarms)
            self._folder.keep(rotate=self._rotates)
        except OSError as fault:
            self._failed(_reason(fault.errno or errno.EIO))
            return
        self._written(head, time.monotonic() - began, pause=0.0)

    def close(self) -> None:
        """End a running fork; its file is given up."""
        if self._fork is not None:
            fork, self._fork = self._fork, None
            os.close(fork.go)
            os.kill(fork.pid, signal.SIGKILL)
            os.waitpid(fork.pid, 0)
            self._discard()

    def _look(self) -> None:
        if self._fork is None and self._loop.now >= self._due:
            number = self._stream.reached
            if number is not None:
                self._due = self._loop.now + self._seconds
                self._begin(self._identity.head(number, self._clock()))

    def _begin(self, head: SnapshotHead) -> None:
        began = time.monotonic()
        rotate = self._rotates
        try:
            told, go = os.pipe()
        except OSError as fault:
            self._failed(_reason(fault.errno or errno.EIO))
            return
        try:
            pid = os.fork()
        except OSError as fault:
            os.close(told)
            os.close(go)
            self._failed(_reason(fault.errno or errno.EIO))
            return
        if not pid:
            _write_and_exit(self._folder, head, self._swarms, told, rotate=rotate)
        os.close(told)
        pause = time.monotonic() - began
        self.longest_pause = max(self.longest_pause, pause)
        self._fork = _Fork(pid, go, head, began, pause)

    def _tick(self, now: float) -> None:
        fork = self._fork
        if fork is None:
            return
        if not fork.told and self._stream.acknowledged >= fork.head.number:
            fork.told = True
            with contextlib.suppress(BrokenPipeError):
                os.write(fork.go, _GO)
        done, status = os.waitpid(fork.pid, os.WNOHANG)
        if not done:
            if now - fork.began > _TIME_LIMIT:
                self.close()
                self._failed("it took too long")
            return
        self._fork = None
        os.close(fork.go)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            older = self._kept
            self._written(fork.head, now - fork.began, pause=fork.pause)
            if older is not None:
                self._state(older.head, fork.head)
        else:
            self._discard()
            self._failed(f"its process ended by signal {-code}" if code < 0 else _reason(code))

    @property
    def _rotates(self) -> bool:
        return self._kept is not None and self._kept.is_newest

    def _written(self, head: SnapshotHead, seconds: float, *, pause: float) -> None:
        self._kept = KeptSnapshot(head, is_newest=True)
        self._written_at = self._loop.now
        self.failing = False
        self._log(
            "snapshot.written",
            last_id=head.last_id,
            peers=self._swarms.peers,
            seconds=round(seconds, 3),
            pause_ms=round(pause * 1_000, 1),
        )

    def _state(self, older: SnapshotHead, newer: SnapshotHead) -> None:
        """Tell the worker what it may trim. Where that fails it trims less, which harms nobody."""
        if not self._link.up:
            return
        points = pack_points(*(StreamPoint(head.last_id, head.at) for head in (older, newer)))
        place = (self._identity.layout, self._identity.shard)
        self._link.request(
            pack_command(
                "EVAL",
                _STATE,
                2,
                history_name(*place),
                snapshots_name(*place),
                self._identity.history,
                points,
                self._swarms.life + _STATED_SECONDS,
            ),
            self._stated,
        )

    def _stated(self, reply: Reply) -> None:
        if reply != 1:
            self._log("snapshot.not_stated", why="Redis refused it, or has another stream")

    def _failed(self, why: str) -> None:
        self.failing = True
        self._log("snapshot.failed", why=why)

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            self._folder.discard()


def _write_and_exit(
    folder: SnapshotFolder, head: SnapshotHead, swarms: Swarms, told: int, *, rotate: bool
) -> NoReturn:
    """The life of the fork. It shares nothing with its parent but the pipe `told`.

    Every descriptor is given up first: a client reads to the end of its connection, which would
    not come while a copy of it is open here.
    """
    code = _UNKNOWN_FAULT
    try:
        _leave_parent(told)
        folder.write(head, swarms)
        if os.read(told, 1) == _GO:
            folder.keep(rotate=rotate)
            code = 0
        else:
            # The parent died before the stream had it all.
            folder.discard()
    except OSError as fault:
        code = min(fault.errno or _UNKNOWN_FAULT, _UNKNOWN_FAULT)
    finally:
        os._exit(code)


def _leave_parent(told: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    highest = highest_descriptor()
    os.closerange(0, told)
    os.closerange(told + 1, highest + 1)
    if told > 2:
        # What the interpreter may print must not end up in a file of ours.
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
    signal.alarm(_TIME_LIMIT)
    os.nice(_NICE)
    # A collection would write to every object, and so copy the whole memory.
    gc.disable()


def highest_descriptor() -> int:
    """The highest descriptor that is open here. Raises OSError.

    The system's limit says less, as it may be none: to close what is below it one by one, as
    Linux before 5.9 has to, takes minutes.
    """
    return max(int(path.name) for path in _DESCRIPTORS.iterdir())


def _reason(code: int) -> str:
    if code >= _UNKNOWN_FAULT:
        return "its process failed"
    return os.strerror(code).lower()
