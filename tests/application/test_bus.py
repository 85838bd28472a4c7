"""The bus on the real log: retries, idempotency, and nothing saved on refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from application.bus import (
    ATTEMPTS,
    Actor,
    Bus,
    Context,
    IdempotencyKeyReused,
    RequestKey,
    Unit,
)
from application.ports import Appended, CommandRepeated, NameTaken
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import TopicRegistry
from domain.errors import Conflict, Unavailable
from domain.kernel import Claim, Envelope, Fact

VAULT = "note"


class TallyRaised(Fact, frozen=True):
    """A tally went up."""

    TOPIC = "tally.raised.1"
    by: int
    name: str | None = None

    def claims(self) -> tuple[Claim, ...]:
        return () if self.name is None else (Claim("tally.name", self.name),)


class Tally(msgspec.Struct, frozen=True):
    version: int
    total: int


class RaiseTally(msgspec.Struct, frozen=True):
    tally: UUID
    by: int
    name: str | None = None


class Raised(msgspec.Struct, frozen=True):
    total: int


class TooHigh(Conflict):
    """The tally would be too high."""

    code = "too_high"


class LookAtTally(msgspec.Struct, frozen=True):
    tally: UUID


def evolve(state: Tally | None, envelope: Envelope) -> Tally:
    before = state.total if state else 0
    return Tally(envelope.originator_version, before + envelope.fact.by)


def handle_raise_tally(unit: Unit, command: RaiseTally) -> Raised:
    tally = unit.load(command.tally, evolve) or Tally(0, 0)
    unit.record(command.tally, tally.version, [TallyRaised(by=command.by, name=command.name)])
    unit.put(VAULT, command.tally, "last", str(command.by).encode())
    if tally.total + command.by > 100:
        raise TooHigh()
    return Raised(tally.total + command.by)


def handle_look_at_tally(unit: Unit, command: LookAtTally) -> int:
    tally = unit.load(command.tally, evolve)
    return tally.total if tally else 0


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    registry = TopicRegistry()
    registry.add(TallyRaised)
    opened = EventLog(app_url, Keyring.generate(), registry)
    yield opened
    opened.close()


class AfterCommit:
    def __init__(self) -> None:
        self.seen: list[Appended] = []

    def __call__(self, appended: Appended) -> tuple[str, ...]:
        self.seen.append(appended)
        return ("lagging",)


def bus_on(log: EventLog, **more: Any) -> tuple[Bus, AfterCommit, list[float]]:
    after, pauses = AfterCommit(), list[float]()
    handlers = {
        RaiseTally: handle_raise_tally,
        LookAtTally: handle_look_at_tally,
        **more.pop("handlers", {}),
    }
    bus = Bus(log, handlers, after_commit=after, taken=more.pop("taken", {}), pause=pauses.append)
    return bus, after, pauses


def context(*, request: RequestKey | None = None, actor: Actor | None = None) -> Context:
    return Context(
        at=datetime(2026, 1, 1, tzinfo=UTC),
        command=uuid4(),
        correlation=uuid4(),
        actor=actor,
        request=request,
    )


def key(body: bytes = b"body", command: UUID | None = None) -> RequestKey:
    return RequestKey(command=command or uuid4(), body_hash=body)


def total(bus: Bus, tally: UUID) -> int:
    return int(bus.dispatch(LookAtTally(tally), context()).result)


def interfering(log: EventLog, times: int) -> Callable[[Unit, RaiseTally], Raised]:
    """A handler that another command beats to the append, `times` times."""
    left = [times]
    other, _, _ = bus_on(log)

    def handle(unit: Unit, command: RaiseTally) -> Raised:
        raised = handle_raise_tally(unit, command)
        if left[0]:
            left[0] -= 1
            other.dispatch(RaiseTally(command.tally, 1), context())
        return raised

    return handle


def test_dispatch_saves_facts_and_vault_and_steps_the_read_models(log: EventLog) -> None:
    bus, after, _ = bus_on(log)
    tally, account = uuid4(), uuid4()
    actor = Actor(account=account, number=1, username="alice")
    outcome = bus.dispatch(RaiseTally(tally, 5), context(actor=actor))
    assert (outcome.result, outcome.position) == (Raised(5), 1)
    assert outcome.stale == ("lagging",)
    assert after.seen == [Appended(first=1, last=1, topics=frozenset({"tally.raised.1"}))]
    assert log.vault_get(VAULT, tally, "last") == b"5"
    assert log.read(0, 10)[0][0].envelope.meta.actor == account
    assert bus.commands == {RaiseTally, LookAtTally}


def test_dispatch_decides_again_when_another_was_first(log: EventLog) -> None:
    bus, _, pauses = bus_on(log, handlers={RaiseTally: interfering(log, 2)})
    tally = uuid4()
    assert bus.dispatch(RaiseTally(tally, 5), context()).result == Raised(7)
    assert total(bus, tally) == 7
    assert len(pauses) == 2


def test_dispatch_gives_up_when_others_keep_winning(log: EventLog) -> None:
    bus, _, _ = bus_on(log, handlers={RaiseTally: interfering(log, ATTEMPTS)})
    tally = uuid4()
    with pytest.raises(Unavailable):
        bus.dispatch(RaiseTally(tally, 5), context())
    assert total(bus, tally) == ATTEMPTS


def test_dispatch_saves_nothing_on_refusal(log: EventLog) -> None:
    bus, after, _ = bus_on(log)
    tally = uuid4()
    with pytest.raises(TooHigh):
        bus.dispatch(RaiseTally(tally, 101), context(request=key()))
    assert (log.head(), after.seen) == (0, [])
    assert log.vault_get(VAULT, tally, "last") is None


def test_dispatch_refuses_a_taken_name_in_the_words_of_its_kind(log: EventLog) -> None:
    bus, _, _ = bus_on(log, taken={"tally.name": TooHigh})
    plain, _, _ = bus_on(log)
    bus.dispatch(RaiseTally(uuid4(), 1, "apples"), context())
    with pytest.raises(TooHigh):
        bus.dispatch(RaiseTally(uuid4(), 1, "apples"), context())
    with pytest.raises(NameTaken):
        plain.dispatch(RaiseTally(uuid4(), 1, "apples"), context())
    assert log.head() == 1


def test_dispatch_without_anything_to_save_answers_the_head(log: EventLog) -> None:
    bus, after, _ = bus_on(log)
    tally = uuid4()
    bus.dispatch(RaiseTally(tally, 3), context())
    outcome = bus.dispatch(LookAtTally(tally), context())
    assert (outcome.result, outcome.position, outcome.stale) == (3, 1, ())
    assert len(after.seen) == 1


def test_a_repeated_request_gets_the_first_answer(log: EventLog) -> None:
    bus, _, _ = bus_on(log)
    tally, request = uuid4(), key()
    first = bus.dispatch(RaiseTally(tally, 5), context(request=request))
    bus.dispatch(RaiseTally(tally, 1), context())
    again = bus.dispatch(RaiseTally(tally, 5), context(request=request))
    assert (again.result, again.repeated, again.position) == (Raised(5), True, first.position)
    assert total(bus, tally) == 6


def test_a_repeated_request_without_facts_gets_the_first_answer_too(log: EventLog) -> None:
    bus, _, _ = bus_on(log)
    tally, request = uuid4(), key()
    assert bus.dispatch(LookAtTally(tally), context(request=request)).result == 0
    bus.dispatch(RaiseTally(tally, 5), context())
    again = bus.dispatch(LookAtTally(tally), context(request=request))
    assert (again.result, again.repeated) == (0, True)


def test_a_key_used_with_another_body_is_refused(log: EventLog) -> None:
    bus, _, _ = bus_on(log)
    tally, request = uuid4(), key()
    bus.dispatch(RaiseTally(tally, 5), context(request=request))
    with pytest.raises(IdempotencyKeyReused):
        bus.dispatch(RaiseTally(tally, 6), context(request=key(b"other", request.command)))
    assert total(bus, tally) == 5


def test_the_same_request_sent_twice_at_once_counts_once(log: EventLog) -> None:
    tally, request = uuid4(), key()
    other, _, _ = bus_on(log)
    beaten = [False]

    def handle(unit: Unit, command: RaiseTally) -> Raised:
        raised = handle_raise_tally(unit, command)
        if not beaten[0]:
            beaten[0] = True
            other.dispatch(command, context(request=request))
        return raised

    bus, _, _ = bus_on(log, handlers={RaiseTally: handle})
    outcome = bus.dispatch(RaiseTally(tally, 5), context(request=request))
    assert (outcome.result, outcome.repeated) == (Raised(5), True)
    assert total(bus, tally) == 5


def test_the_same_request_refused_over_its_own_twin_gets_the_twin_s_answer(log: EventLog) -> None:
    tally, request = uuid4(), key()
    other, _, _ = bus_on(log)

    def handle(unit: Unit, command: RaiseTally) -> Raised:
        other.dispatch(command, context(request=request))
        return handle_raise_tally(unit, command)

    bus, _, _ = bus_on(log, handlers={RaiseTally: handle})
    outcome = bus.dispatch(RaiseTally(tally, 60), context(request=request))
    assert (outcome.result, outcome.repeated) == (Raised(60), True)
    assert total(bus, tally) == 60
    with pytest.raises(TooHigh):
        bus.dispatch(RaiseTally(tally, 60), context(request=key()))


def test_a_command_id_used_twice_without_a_key_is_a_fault(log: EventLog) -> None:
    bus, _, _ = bus_on(log)
    once = context()
    bus.dispatch(RaiseTally(uuid4(), 5), once)
    with pytest.raises(CommandRepeated):
        bus.dispatch(RaiseTally(uuid4(), 5), once)


def test_a_unit_knows_its_caller_or_says_that_it_needs_one(log: EventLog) -> None:
    actor = Actor(account=uuid4(), number=1, username="alice")
    assert Unit(log, context(actor=actor)).actor == actor
    with pytest.raises(RuntimeError):
        _ = Unit(log, context()).actor


def test_a_unit_saves_blobs_and_erasures(log: EventLog) -> None:
    tally, refs = uuid4(), list[bytes]()

    class KeepBlob(msgspec.Struct, frozen=True):
        content: bytes

    def handle_keep_blob(unit: Unit, command: KeepBlob) -> None:
        refs.append(unit.blob(command.content))
        unit.erase(VAULT, tally, "last")
        assert unit.claim_owner(Claim("tally.name", "pears")) is None
        assert unit.at.year == 2026

    bus, _, _ = bus_on(log, handlers={KeepBlob: handle_keep_blob})
    bus.dispatch(RaiseTally(tally, 5), context())
    bus.dispatch(KeepBlob(b"some bytes"), context())
    assert log.blob(refs[0]) == b"some bytes"
    assert log.vault_get(VAULT, tally, "last") is None
