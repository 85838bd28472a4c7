"""Whoever changes the record behind our back is named, with the place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from application.store.heads import sign_head, stored_heads
from application.store.log import EventLog
from application.store.verify import (
    Fault,
    verify_batches,
    verify_claims,
    verify_heads,
    verify_log,
)
from domain.kernel import Private
from tests.application.store.shelves import (
    ShelfNoted,
    ShelfOpened,
    ShelfRenamed,
    envelopes,
    writes,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
Tamper = Callable[[str], None]


@pytest.fixture
def filled(log: EventLog) -> EventLog:
    """Five facts of two shelves."""
    for name in ("films", "music"):
        shelf = uuid4()
        log.append(writes(*envelopes(shelf, 0, ShelfOpened(name=name))))
        log.append(writes(*envelopes(shelf, 1, ShelfRenamed(old=name, new=name * 2))))
    log.append(writes(*envelopes(uuid4(), 0, ShelfNoted(notes=(Private(uuid4(), "words"),)))))
    return log


@pytest.fixture
def tamper(database_url: str) -> Tamper:
    def run(statement: str) -> None:
        with psycopg.connect(database_url) as owner:
            assert owner.execute(statement).rowcount == 1

    return run


def test_an_untouched_log_verifies(filled: EventLog) -> None:
    check = verify_log(filled, filled.head())
    assert (check.facts, check.fault) == (5, None)
    assert (
        check.last_hash
        == filled.recorder.rows("SELECT hash FROM log.events WHERE notification_id = 5")[0][0]
    )
    assert verify_claims(filled, filled.head()) is None


CHANGES = {
    "state": "state = set_byte(state, octet_length(state) - 1,"
    " 1 # get_byte(state, octet_length(state) - 1))",
    "the nonce": "state = set_byte(state, 6, 1 # get_byte(state, 6))",
    "the key id": "state = set_byte(state, 3, 255)",
    "topic": "topic = 'shelf.renamed.2'",
    "version": "originator_version = 9",
    "aggregate": "originator_id = gen_random_uuid()",
    "commit": "commit = set_byte(commit, 0, 1 # get_byte(commit, 0))",
    "hash": "hash = set_byte(hash, 0, 1 # get_byte(hash, 0))",
}


@pytest.mark.parametrize("what", sorted(CHANGES))
def test_a_changed_fact_is_named(filled: EventLog, tamper: Tamper, what: str) -> None:
    tamper(f"UPDATE log.events SET {CHANGES[what]} WHERE notification_id = 2")
    check = verify_log(filled, 5)
    assert check.fault is not None
    assert check.fault.place == "position 2"
    assert check.facts == 1


def test_a_removed_fact_is_named(filled: EventLog, tamper: Tamper) -> None:
    tamper("DELETE FROM log.events WHERE notification_id = 3")
    assert verify_log(filled, 5).fault == Fault(place="position 3", what="the fact is missing")


def test_a_removed_tail_is_named(filled: EventLog, tamper: Tamper) -> None:
    tamper("DELETE FROM log.events WHERE notification_id = 5")
    assert verify_log(filled, 5).fault == Fault(place="position 5", what="the fact is missing")


def test_a_body_swapped_in_is_not_the_one_committed_to(filled: EventLog, tamper: Tamper) -> None:
    # Sealed rightly, by one who has the keys, for the right place; only the commit tells.
    stored = filled.recorder.rows("SELECT originator_id FROM log.events WHERE notification_id = 2")[
        0
    ][0]
    forged = filled.mapper.to_stored_event(
        envelopes(stored, 1, ShelfRenamed(old="films", new="forged"))[0]  # type: ignore[arg-type]
    )
    tamper(f"UPDATE log.events SET state = '\\x{forged.state.hex()}' WHERE notification_id = 2")
    fault = verify_log(filled, 5).fault
    assert fault == Fault(place="position 2", what="the body is not the one that was committed to")


def test_a_rewritten_history_does_not_fit_the_signed_head(
    filled: EventLog, tamper: Tamper, database_url: str
) -> None:
    sign_head(filled, NOW)
    assert verify_heads(filled) is None
    # The whole tail computed anew, as an owner of the database could: the chain is whole.
    tamper("UPDATE log.events SET commit = sha256('forged') WHERE notification_id = 5")
    tamper(
        "UPDATE log.events e SET hash = log.chain_hash((SELECT hash FROM log.events WHERE"
        " notification_id = 4), 5, originator_id, originator_version, topic, commit)"
        " WHERE notification_id = 5"
    )
    assert verify_heads(filled) == Fault(
        place="head at position 5, batch 0", what="the log has another hash there"
    )
    tamper("UPDATE log.heads SET hash = (SELECT hash FROM log.events WHERE notification_id = 5)")
    assert verify_heads(filled) == Fault(
        place="head at position 5, batch 0", what="the signature is wrong"
    )


def test_a_head_is_signed_once_for_a_place(filled: EventLog) -> None:
    signed = sign_head(filled, NOW)
    assert signed is not None
    assert signed.head.position == 5
    assert sign_head(filled, NOW) is None
    filled.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="x"))))
    assert sign_head(filled, NOW) is not None
    assert [s.head.position for s in stored_heads(filled)] == [5, 6]


def test_heads_of_an_empty_log_verify(log: EventLog) -> None:
    assert sign_head(log, NOW) is not None
    assert verify_heads(log) is None
    assert verify_log(log, 0).fault is None


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (
            "DELETE FROM log.claims WHERE owner = (SELECT min(owner::text)::uuid FROM log.claims)",
            "the log says it is held, the table lacks it",
        ),
        (
            "INSERT INTO log.claims VALUES ('shelf.name', 'x', gen_random_uuid())",
            "the table has it, the log says nobody holds it",
        ),
        (
            (
                "UPDATE log.claims SET owner = gen_random_uuid()"
                " WHERE owner = (SELECT min(owner::text)::uuid FROM log.claims)"
            ),
            "the table names another owner than the log",
        ),
    ],
)
def test_a_changed_claim_is_named(
    filled: EventLog, tamper: Tamper, statement: str, what: str
) -> None:
    tamper(statement)
    fault = verify_claims(filled, 5)
    assert fault is not None
    assert fault.what == what
    assert fault.place.startswith("claim shelf.name ")


def append_batch(log: EventLog, first: str, last: str) -> int:
    rows = log.recorder.rows(
        "SELECT ledger.append_batch('peer-events:{1.0}', %b, %b, 3, 5, sha256('r'), now())",
        (first, last),
    )
    return int(rows[0][0])


def test_batches_are_chained_and_a_changed_one_is_named(log: EventLog, tamper: Tamper) -> None:
    assert [append_batch(log, f"1-{n}", f"1-{n + 2}") for n in (1, 4, 7)] == [1, 2, 3]
    assert verify_batches(log) is None
    tamper("UPDATE ledger.batches SET records = 4 WHERE seq = 2")
    assert verify_batches(log) == Fault(place="batch 2", what="the chain is broken")
    tamper("DELETE FROM ledger.batches WHERE seq = 2")
    assert verify_batches(log) == Fault(place="batch 2", what="the batch is missing")


def test_the_ledger_takes_no_entry_twice(log: EventLog) -> None:
    append_batch(log, "1-1", "1-9")
    for first in ("1-9", "1-2", "0-99"):
        with pytest.raises(Exception, match="already holds"):
            append_batch(log, first, "1-12")
    assert append_batch(log, "1-10", "1-12") == 2
    assert append_batch(log, "2-1", "2-5") == 3


def test_the_head_speaks_of_log_and_ledger(filled: EventLog, tamper: Tamper) -> None:
    append_batch(filled, "1-1", "1-9")
    sign_head(filled, NOW)
    assert verify_heads(filled) is None
    tamper("UPDATE ledger.batches SET hash = sha256('forged')")
    assert verify_heads(filled) == Fault(
        place="head at position 5, batch 1", what="the ledger has another hash there"
    )
