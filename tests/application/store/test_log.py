"""What the event log promises its callers."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from application.ports import (
    ClaimTaken,
    CommandRepeated,
    VaultErasure,
    VaultPut,
    VersionConflict,
)
from application.store.log import EventLog
from domain.kernel import Claim
from tests.application.store.shelves import (
    Shelf,
    ShelfOpened,
    ShelfRenamed,
    envelopes,
    evolve,
    writes,
)


def test_an_aggregate_is_loaded_as_it_was_appended(log: EventLog) -> None:
    shelf = uuid4()
    facts = (ShelfOpened(name="films"), ShelfRenamed(old="films", new="music"))
    appended = log.append(writes(*envelopes(shelf, 0, *facts)))
    assert (appended.first, appended.last) == (1, 2)
    assert appended.topics == {"shelf.opened.1", "shelf.renamed.1"}
    assert log.load(shelf, evolve) == Shelf(shelf, 2, "music")
    assert log.load(uuid4(), evolve) is None
    assert log.head() == 2


def test_read_gives_wanted_topics_and_the_last_position_scanned(log: EventLog) -> None:
    shelf = uuid4()
    given = envelopes(shelf, 0, ShelfOpened(name="a"), ShelfRenamed(old="a", new="b"))
    log.append(writes(*given))
    recorded, last = log.read(0, 10)
    assert last == 2
    assert [r.envelope for r in recorded] == list(given)
    assert [r.position for r in recorded] == [1, 2]
    recorded, last = log.read(0, 10, frozenset({"shelf.renamed.1"}))
    assert ([r.position for r in recorded], last) == ([2], 2)
    recorded, last = log.read(0, 1, frozenset({"shelf.renamed.1"}))
    assert (recorded, last) == ([], 1)
    assert log.read(2, 10) == ([], 2)


def test_two_aggregates_are_saved_together_or_not_at_all(log: EventLog) -> None:
    first, second = uuid4(), uuid4()
    log.append(writes(*envelopes(second, 0, ShelfOpened(name="taken"))))
    both = (
        *envelopes(first, 0, ShelfOpened(name="new")),
        *envelopes(second, 0, ShelfOpened(name="again")),
    )
    put = VaultPut(kind="note", owner=first, id="", value=b"x")
    with pytest.raises(VersionConflict):
        log.append(writes(*both, puts=[put]))
    assert log.load(first, evolve) is None
    assert log.vault_get("note", first, "") is None
    assert log.claim_owner(Claim("shelf.name", "new")) is None


def test_a_stale_version_is_a_conflict(log: EventLog) -> None:
    shelf = uuid4()
    log.append(writes(*envelopes(shelf, 0, ShelfOpened(name="a"))))
    with pytest.raises(VersionConflict):
        log.append(writes(*envelopes(shelf, 0, ShelfOpened(name="b"))))
    assert log.head() == 1


def test_nothing_is_saved_once_what_was_read_has_gone_on(log: EventLog) -> None:
    read, missing, shelf = uuid4(), uuid4(), uuid4()
    log.append(writes(*envelopes(read, 0, ShelfOpened(name="read"))))
    opened = envelopes(shelf, 0, ShelfOpened(name="a"))
    with pytest.raises(VersionConflict):
        log.append(writes(*opened, reads={missing: 0, read: 0}))
    assert log.load(shelf, evolve) is None
    log.append(writes(*opened, reads={missing: 0, read: 1}))
    log.append(writes(*envelopes(missing, 0, ShelfOpened(name="b"))))
    renamed = envelopes(shelf, 1, ShelfRenamed(old="a", new="c"))
    with pytest.raises(VersionConflict):
        log.append(writes(*renamed, reads={missing: 0}))
    assert log.load(shelf, evolve) == Shelf(shelf, 1, "a")


def test_a_version_is_never_left_out(log: EventLog) -> None:
    with pytest.raises(Exception, match="left out"):
        log.append(writes(*envelopes(uuid4(), 1, ShelfOpened(name="a"))))
    assert log.head() == 0


def test_a_command_is_done_once_and_its_answer_kept(log: EventLog) -> None:
    command = uuid4()
    given = writes(
        *envelopes(uuid4(), 0, ShelfOpened(name="a")), command=command, answer=b'"secret"'
    )
    assert log.answer(command) is None
    log.append(given)
    stored = log.answer(command)
    assert stored is not None
    assert (stored.body_hash, stored.answer, stored.last) == (given.body_hash, b'"secret"', 1)
    # The same command on another aggregate, with the same claim: known, not "taken".
    with pytest.raises(CommandRepeated):
        log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="a")), command=command))
    assert log.head() == 1


def test_a_command_without_facts_is_done_once_too(log: EventLog) -> None:
    log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="a"))))
    command = uuid4()
    put = VaultPut(kind="note", owner=uuid4(), id="x", value=b"1")
    appended = log.append(writes(command=command, puts=[put], answer=b"null"))
    assert (appended.first, appended.last, appended.topics) == (0, 0, frozenset())
    stored = log.answer(command)
    assert stored is not None
    assert stored.last == 1
    with pytest.raises(CommandRepeated):
        log.append(writes(command=command, puts=[put]))


def test_who_is_told_that_a_command_was_done_is_told_of_what_is_on_disk(
    log: EventLog, database_url: str
) -> None:
    command = uuid4()
    with psycopg.connect(database_url, autocommit=True) as owner:
        # An append between its two commits: everybody sees it, the disk has not got it yet.
        owner.execute("SET synchronous_commit = off")
        owner.execute(
            "INSERT INTO log.commands (id, attempt, first, last) VALUES (%s, %s, 0, 0)",
            (command, uuid4()),
        )
        written = owner.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        assert written is not None
        assert log.answer(command) is not None
        on_disk = owner.execute("SELECT pg_current_wal_flush_lsn() >= %s", written).fetchone()
    assert on_disk == (True,)


def test_a_claimed_name_belongs_to_one_until_released(log: EventLog) -> None:
    first, second = uuid4(), uuid4()
    name = Claim("shelf.name", "films")
    log.append(writes(*envelopes(first, 0, ShelfOpened(name="films"))))
    assert log.claim_owner(name) == first
    with pytest.raises(ClaimTaken) as taken:
        log.append(writes(*envelopes(second, 0, ShelfOpened(name="films"))))
    assert taken.value.kind == "shelf.name"
    log.append(writes(*envelopes(first, 1, ShelfRenamed(old="films", new="music"))))
    assert log.claim_owner(name) is None
    log.append(writes(*envelopes(second, 0, ShelfOpened(name="films"))))
    assert log.claim_owner(name) == second


def test_only_the_owner_gives_a_name_back(log: EventLog) -> None:
    first, second = uuid4(), uuid4()
    log.append(writes(*envelopes(first, 0, ShelfOpened(name="films"))))
    log.append(
        writes(
            *envelopes(second, 0, ShelfOpened(name="own"), ShelfRenamed(old="films", new="other"))
        )
    )
    assert log.claim_owner(Claim("shelf.name", "films")) == first


def test_two_shelves_swap_names_in_one_append(log: EventLog) -> None:
    first, second = uuid4(), uuid4()
    log.append(writes(*envelopes(first, 0, ShelfOpened(name="a"))))
    log.append(writes(*envelopes(second, 0, ShelfOpened(name="b"))))
    log.append(
        writes(
            *envelopes(first, 1, ShelfRenamed(old="a", new="tmp")),
            *envelopes(second, 1, ShelfRenamed(old="b", new="a")),
            *envelopes(first, 2, ShelfRenamed(old="tmp", new="b")),
        )
    )
    owners = [log.claim_owner(Claim("shelf.name", name)) for name in ("a", "b", "tmp")]
    assert owners == [second, first, None]


def test_claims_are_stored_as_keyed_hashes(log: EventLog, database_url: str) -> None:
    log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="recognisable"))))
    with psycopg.connect(database_url) as conn:
        rows = conn.execute("SELECT kind, value FROM log.claims").fetchall()
    assert len(rows) == 1
    assert rows[0][0] == "shelf.name"
    assert b"recognisable" not in rows[0][1]


def test_the_vault_keeps_replaces_lists_and_destroys(log: EventLog) -> None:
    owner, other = uuid4(), uuid4()
    log.append(
        writes(
            puts=[
                VaultPut(kind="session", owner=owner, id="b", value=b"2"),
                VaultPut(kind="session", owner=owner, id="a", value=b"1"),
                VaultPut(kind="session", owner=other, id="c", value=b"3"),
            ]
        )
    )
    assert log.vault_get("session", owner, "a") == b"1"
    assert dict(log.vault_list("session", owner)) == {"a": b"1", "b": b"2"}
    assert log.vault_find("session", "c") == (other, b"3")
    log.vault_write(
        [VaultPut(kind="session", owner=owner, id="a", value=b"new")],
        [VaultErasure(kind="session", owner=owner, id="b")],
    )
    assert dict(log.vault_list("session", owner)) == {"a": b"new"}
    log.append(writes(erasures=[VaultErasure(kind="session", owner=other, id="c")]))
    assert log.vault_find("session", "c") is None


def test_vault_create_keeps_the_first_value(log: EventLog) -> None:
    owner = uuid4()
    first = VaultPut(kind="key", owner=owner, id="", value=b"first")
    second = VaultPut(kind="key", owner=owner, id="", value=b"second")
    assert log.vault_create(first) == b"first"
    assert log.vault_create(second) == b"first"


def test_blobs_are_found_by_their_reference_and_kept_once(log: EventLog, database_url: str) -> None:
    content = b"d4:infod4:name5:filmsee" * 100
    ref = log.blob_ref(content)
    assert log.blob(ref) is None
    log.append(writes(blobs=[content, content]))
    log.append(writes(blobs=[content]))
    assert log.blob(ref) == content
    with psycopg.connect(database_url) as conn:
        rows = conn.execute("SELECT value FROM vault.blobs").fetchall()
    assert len(rows) == 1
    assert b"films" not in rows[0][0]


def test_numbers_count_from_one_each(log: EventLog) -> None:
    assert [log.next_account_number() for _ in range(3)] == [1, 2, 3]
    assert [log.next_torrent_number() for _ in range(2)] == [1, 2]
