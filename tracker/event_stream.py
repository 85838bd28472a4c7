"""The shard's stream of peer records: written in batches, answers held until acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from tracker.counters import Counters
from tracker.event_loop import EventLoop
from tracker.outlets import Leaving, Outlet
from tracker.redis_link import RedisLink
from tracker.resp import RedisError, Reply, pack_command
from tracker.wire import FIELD_RECORDS, FIELD_VERSION, VERSION, entry_id

_SECOND_BATCH_RECORDS: Final = 128
"""While one batch is in flight, gather at least this much before another leaves."""
_RETRY_SECONDS: Final = 0.25
_COPY_MS: Final = 100
"""A replica tells what it has on its disk when it is asked, so it is asked again this often."""
_MARK_MS: Final = 60_000
_NOT_ABOVE: Final = "equal or smaller"

_SENT: Final = 0
_REFUSED: Final = 1
"""Redis said no, so it is not in the stream and may be sent again."""
_STORED: Final = 2


class ShardLost(Exception):
    """This process may not write the shard's stream any more; the text says why."""


class Log(Protocol):
    """A structured log: an event name and plain fields, never keys or addresses."""

    def __call__(self, event: str, **fields: object) -> None: ...


class HeldAnswer(Protocol):
    """An answer that waits for its record to be durable."""

    def deliver(self) -> None:
        """The record is acknowledged: send."""
        ...

    def refuse(self) -> None:
        """It is not, and may never be: tell the client to come again."""
        ...


_Held = TypeVar("_Held")


class _Gathering(Protocol):
    """An outlet, whatever it holds."""

    def __len__(self) -> int: ...

    def take(self) -> Leaving: ...


class _Batch:
    """Records under one stream id, which never changes once they were sent."""

    __slots__ = ("answers", "block", "number", "since", "state", "waiting")

    def __init__(self, number: int, block: bytes, answers: list[Leaving], since: float) -> None:
        self.number = number
        self.block = block
        self.answers = answers
        self.waiting = sum(leaving.size for leaving in answers)
        self.since = since
        self.state = _SENT

    def give_up(self) -> list[Leaving]:
        """The answers, to be refused; the records stay."""
        answers, self.answers, self.waiting = self.answers, [], 0
        return answers


class EventStream:
    """Group commit into one Redis stream by its only writer.

    A batch leaves at once when none is in flight; otherwise records gather, and a second one
    may follow when it is worth it. Ids are explicit, `<epoch>-<number>`: after a lost
    connection the same ids are sent again, and where the id is taken, the stream must hold
    these very bytes. If it holds others, another process has this shard: ShardLost.

    Records once taken are kept until they are written, as the swarm already knows them; it is
    only the answers that are refused when Redis takes too long.
    """

    def __init__(
        self,
        loop: EventLoop,
        *,
        stream: str,
        epoch: int,
        pending_answers: int,
        pending_seconds: float,
        counters: Counters,
        log: Log,
    ) -> None:
        self._loop = loop
        self._stream = stream
        self._epoch = epoch
        self._pending_answers = pending_answers
        self._pending_seconds = pending_seconds
        self._counters = counters
        self._log = log
        self._link: RedisLink | None = None
        self._records: list[bytes] = []
        self.append: Callable[[bytes], None] = self._records.append
        """Take a record; it will be written, in this order."""
        self._outlets: list[_Gathering] = []
        self.hold = self.outlet(_deliver_each, _refuse_each).hold
        """`hold` of an outlet that tells each answer by itself."""
        self._since = 0.0
        self._flying: deque[_Batch] = deque()
        self._number = 0
        self._held = 0
        """Answers in flight; those that gather are in the outlets."""
        self._stalled = False
        self._closed = False
        self._retry_at = 0.0
        self._full = False
        self.replicas = 0
        """Replicas that must have a batch on their disk, besides the server itself, before it
        counts as written; its owner sets it."""
        self.short_of_copies = False
        """Whether a batch was not on enough disks in time, since its owner last looked."""
        loop.on_tick(self._tick)

    def attach(self, link: RedisLink) -> None:
        """Use this link; its owner calls `link_up` and `link_down`."""
        self._link = link

    def outlet(
        self, deliver: Callable[[list[_Held]], None], refuse: Callable[[list[_Held]], None]
    ) -> Outlet[_Held]:
        """A new way out; answers are held there after their record was appended."""
        outlet = Outlet(deliver, refuse)
        self._outlets.append(outlet)
        return outlet

    @property
    def accepting(self) -> bool:
        """Whether an announce taken now has a chance to be acknowledged in time.

        Each record that gathers counts as an answer, which it is but for expired peers.
        """
        return (
            self._held + len(self._records) < self._pending_answers
            and not self._stalled
            and not self._closed
        )

    @property
    def settled(self) -> bool:
        """Whether everything taken is written."""
        return not self._records and not self._flying

    @property
    def reached(self) -> int | None:
        """Number of the entry that ends with the last record taken; None while it gathers."""
        return self._number if not self._records else None

    @property
    def acknowledged(self) -> int:
        """Number of the last entry that is stored with all before it."""
        return self._flying[0].number - 1 if self._flying else self._number

    @property
    def waiting(self) -> int:
        """Answers held back at the moment."""
        return self._held + sum(len(outlet) for outlet in self._outlets)

    @property
    def lag(self) -> float:
        """Seconds the oldest record waits for its acknowledgement, 0 when none does."""
        if self._flying:
            return self._loop.now - self._flying[0].since
        return self._loop.now - self._since if self._since else 0.0

    def close(self) -> None:
        """Accept nothing more; what was taken can still be written."""
        self._closed = True

    def refuse_held(self) -> None:
        """Refuse every answer that waits."""
        refused = [leaving for batch in self._flying for leaving in batch.give_up()]
        refused += [outlet.take() for outlet in self._outlets]
        self._held = 0
        for leaving in refused:
            self._counters.answers_refused += leaving.size
            leaving.refuse()

    def link_up(self) -> None:
        """Send again what was in flight; whether it arrived is unknown."""
        self._counters.batches_resent += len(self._flying)
        self._retry_at = 0.0
        for batch in self._flying:
            self._send(batch)
        self.flush()

    def link_down(self) -> None:
        """Nothing to do until the link is back but to let answers run out of time."""

    def flush(self) -> None:
        """Let a batch leave if one may; to be called at the end of each round."""
        if not self._records:
            return
        self._since = self._since or self._loop.now
        if self._link is None or not self._link.up or self._retry_at:
            return
        flying = len(self._flying)
        if flying >= 2 or (flying == 1 and len(self._records) < _SECOND_BATCH_RECORDS):
            return
        self._number += 1
        block = b"".join(self._records)
        answers = [outlet.take() for outlet in self._outlets if len(outlet)]
        batch = _Batch(self._number, block, answers, self._since)
        self._counters.batches += 1
        self._counters.records += len(self._records)
        self._counters.batch_sizes.observe(len(self._records))
        # The list stays, as `append` is bound to it.
        self._records.clear()
        self._since = 0.0
        self._held += batch.waiting
        self._flying.append(batch)
        self._send(batch)

    def _send(self, batch: _Batch) -> None:
        if self._link is None:
            return
        batch.state = _SENT
        command = pack_command(
            b"XADD",
            self._stream,
            entry_id(self._epoch, batch.number),
            FIELD_VERSION,
            VERSION,
            FIELD_RECORDS,
            batch.block,
        )
        self._link.request(command, lambda reply: self._written(batch, reply))

    def _written(self, batch: _Batch, reply: Reply) -> None:
        if not isinstance(reply, RedisError):
            self._stored(batch)
        elif _NOT_ABOVE in reply.text:
            self._verify(batch)
        else:
            self._refused(batch, reply.text.split(" ")[0])

    def _acknowledge(self, batch: _Batch) -> None:
        batch.state = _STORED
        self._check_order()
        self._stalled = False
        if self._full:
            self._full = False
            self._log("stream.writable")
        while self._flying and self._flying[0].state == _STORED:
            stored = self._flying.popleft()
            self._held -= stored.waiting
            self._counters.latency.observe(self._loop.now - stored.since, stored.waiting)
            for leaving in stored.answers:
                leaving.deliver()

    def _check_order(self) -> None:
        """A batch that was refused while a later one was taken: its id is past for ever.

        Starting over from the stream is the one way to keep the order of records.
        """
        if [batch.state for batch in self._flying] == [_REFUSED, _STORED]:
            raise ShardLost("Redis refused a batch of announces and took the next one")

    def _verify(self, batch: _Batch) -> None:
        """The id is taken: by an earlier sending of this batch, or by somebody else."""
        if self._link is None:
            return
        number = entry_id(self._epoch, batch.number)
        command = pack_command(b"XRANGE", self._stream, number, number)
        self._link.request(command, lambda reply: self._verified(batch, reply))

    def _verified(self, batch: _Batch, reply: Reply) -> None:
        if isinstance(reply, RedisError):
            self._refused(batch, reply.text.split(" ")[0])
        elif _holds(reply, batch.block):
            self._found(batch)
        elif reply == []:
            # The stream's end is beyond our number, which nobody used.
            raise ShardLost(
                "the event stream goes on beyond this start: another process has begun one, "
                "or the stream was numbered anew or closed"
            )
        else:
            raise ShardLost("another process writes the event stream of this tracker shard")

    def _stored(self, batch: _Batch) -> None:
        """It is on the server's disk; with replicas it has to be on as many of theirs too."""
        if not self.replicas or self._link is None:
            self._acknowledge(batch)
            return
        copies = self.replicas
        wait = pack_command(b"WAITAOF", 1, copies, _COPY_MS)
        self._link.request(wait, lambda reply: self._copied(batch, copies, reply))

    def _found(self, batch: _Batch) -> None:
        """An earlier connection wrote it, and WAITAOF waits for what its own connection wrote.

        So something is written here, behind it.
        """
        if not self.replicas or self._link is None:
            self._acknowledge(batch)
            return
        mark = pack_command(b"SET", f"{self._stream}:copied", batch.number, b"PX", _MARK_MS)
        self._link.request(mark, lambda reply: self._marked(batch, reply))

    def _marked(self, batch: _Batch, reply: Reply) -> None:
        if isinstance(reply, RedisError):
            self._refused(batch, reply.text.split(" ")[0])
        else:
            self._stored(batch)

    def _copied(self, batch: _Batch, copies: int, reply: Reply) -> None:
        match reply:
            case [int(here), int(there)] if here >= 1 and there >= min(copies, self.replicas):
                self._acknowledge(batch)
            case RedisError() as fault:
                self._refused(batch, fault.text.split(" ")[0])
            case _:
                # Asked again; meanwhile the owner may have found that a replica is gone.
                self.short_of_copies = True
                self._stored(batch)

    def _refused(self, batch: _Batch, kind: str) -> None:
        """Out of memory, a replica, a failed disk: it may pass, so the batch stays."""
        batch.state = _REFUSED
        self._check_order()
        self._retry_at = self._loop.now + _RETRY_SECONDS
        if not self._full:
            self._full = True
            self._log("stream.refused", kind=kind)
        if kind == "READONLY" and self._link is not None:
            self._link.drop("the server is a replica now")

    def _tick(self, now: float) -> None:
        if self._retry_at and now >= self._retry_at and self._link is not None and self._link.up:
            if any(batch.state != _REFUSED for batch in self._flying):
                return
            self._retry_at = 0.0
            for batch in self._flying:
                self._send(batch)
        if self.waiting and now - self._oldest() > self._pending_seconds:
            self._stalled = True
            self._log("stream.stalled", answers=self.waiting)
            self.refuse_held()

    def _oldest(self) -> float:
        for batch in self._flying:
            if batch.answers:
                return batch.since
        return self._since or self._loop.now


def _deliver_each(answers: list[HeldAnswer]) -> None:
    for answer in answers:
        answer.deliver()


def _refuse_each(answers: list[HeldAnswer]) -> None:
    for answer in answers:
        answer.refuse()


def _holds(reply: Reply, block: bytes) -> bool:
    """Whether an XRANGE reply is the one entry with these records."""
    match reply:
        case [[bytes(), [bytes(), bytes(), bytes(), bytes(found)]]]:
            return found == block
        case _:
            return False
