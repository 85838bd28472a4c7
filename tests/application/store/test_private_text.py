"""Private text dies with its subject's key; the fact and the chain stay."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest

from application.ports import VaultErasure
from application.store.log import EventLog
from application.store.private_text import KIND, new_subject_key, open_text, seal_text
from application.store.sealing import SealBroken
from application.store.topics import BadFact, encode_body
from application.store.verify import verify_log
from domain.kernel import Private
from tests.application.store.shelves import (
    ShelfNoted,
    ShelfOpened,
    envelopes,
    evolve,
    writes,
)


def note(log: EventLog, shelf: UUID, *privates: Private) -> None:
    current = log.load(shelf, evolve)
    version = current.version if current else 0
    facts = [] if current else [ShelfOpened(name=str(shelf))]
    log.append(writes(*envelopes(shelf, version, *facts, ShelfNoted(notes=privates))))


def notes_of(log: EventLog, shelf: UUID) -> tuple[str | None, ...]:
    loaded = log.load(shelf, evolve)
    assert loaded is not None
    return loaded.notes


def test_destroying_the_key_erases_the_text_and_keeps_the_chain(log: EventLog) -> None:
    shelf, leaving, staying = uuid4(), uuid4(), uuid4()
    note(log, shelf, Private(leaving, "mine"), Private(staying, "yours"))
    note(log, shelf, Private(leaving, "more of mine"))
    assert notes_of(log, shelf) == ("mine", "yours", "more of mine")
    before = verify_log(log, 3)
    log.append(writes(erasures=[VaultErasure(kind=KIND, owner=leaving, id="")]))
    assert notes_of(log, shelf) == (None, "yours", None)
    recorded, _ = log.read(0, 10)
    assert [n.text for n in recorded[1].envelope.fact.notes] == [None, "yours"]
    after = verify_log(log, 3)
    assert after.fault is None
    assert after.last_hash == before.last_hash


def test_text_written_after_an_erasure_gets_a_new_key(log: EventLog) -> None:
    shelf, subject = uuid4(), uuid4()
    note(log, shelf, Private(subject, "old"))
    log.append(writes(erasures=[VaultErasure(kind=KIND, owner=subject, id="")]))
    note(log, shelf, Private(subject, "new"))
    assert notes_of(log, shelf) == (None, "new")


def test_one_subject_keeps_one_key(log: EventLog, database_url: str) -> None:
    shelf, subject = uuid4(), uuid4()
    for text in ("a", "b", "c"):
        note(log, shelf, Private(subject, text), Private(subject, text))
    assert notes_of(log, shelf) == ("a", "a", "b", "b", "c", "c")
    with psycopg.connect(database_url) as owner:
        assert owner.execute("SELECT count(*) FROM vault.items").fetchone() == (1,)


def test_the_plain_body_holds_only_the_inner_seal(log: EventLog) -> None:
    shelf = uuid4()
    private = Private(uuid4(), "unmistakable")
    note(log, shelf, private)
    row = log.recorder.rows(
        "SELECT originator_version, topic, state FROM log.events WHERE notification_id = 2"
    )[0]
    assert b"unmistakable" not in log.mapper.plain(shelf, *row)
    assert private.sealed is not None


def test_a_text_already_erased_stays_erased_when_recorded_again(log: EventLog) -> None:
    shelf = uuid4()
    note(log, shelf, Private(uuid4(), None))
    assert notes_of(log, shelf) == (None,)


def test_unsealed_text_is_never_encoded() -> None:
    envelope = envelopes(uuid4(), 0, ShelfNoted(notes=(Private(uuid4(), "plain"),)))[0]
    with pytest.raises(BadFact):
        encode_body(b"", envelope.meta, envelope.fact)


def test_text_is_bound_to_its_subject_and_key() -> None:
    subject, key = uuid4(), new_subject_key()
    sealed = seal_text("words", subject, key)
    assert open_text(sealed, subject, key) == "words"
    assert open_text(sealed, subject, None) is None
    assert open_text(sealed, subject, new_subject_key()) is None
    with pytest.raises(SealBroken):
        open_text(sealed, uuid4(), key)
    with pytest.raises(SealBroken):
        open_text(sealed[:-1] + bytes([sealed[-1] ^ 1]), subject, key)
