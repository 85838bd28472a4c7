"""Values are unreadable outside, bound to their place, and keys wear out."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest

from application.ports import VaultPut
from application.store.keyring import Keyring, WrongKey
from application.store.log import EventLog
from application.store.reseal import reseal
from application.store.sealing import ALLOTMENT, WORN_OUT, KeyWornOut, SealBroken, Sealer
from application.store.verify import verify_log
from domain.kernel import Private
from tests.application.store.shelves import (
    ShelfNoted,
    ShelfOpened,
    envelopes,
    evolve,
    shelf_registry,
    writes,
)


def free(_key: int, amount: int) -> int:
    return amount


def test_a_value_opens_only_at_its_place() -> None:
    sealer = Sealer(Keyring.generate(), "vault", free)
    sealed = sealer.seal(b"value", b"here")
    assert b"value" not in sealed
    assert sealer.open(sealed, b"here") == b"value"
    with pytest.raises(SealBroken):
        sealer.open(sealed, b"there")


def test_each_byte_of_a_sealed_value_is_guarded() -> None:
    sealer = Sealer(Keyring.generate(), "vault", free)
    sealed = sealer.seal(b"value", b"here")
    for n in range(len(sealed)):
        changed = sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :]
        with pytest.raises(SealBroken):
            sealer.open(changed, b"here")
    with pytest.raises(SealBroken):
        sealer.open(sealed[:15], b"here")


def test_a_key_id_can_not_be_relabelled() -> None:
    # Two ids for one secret: only the binding of the id tells them apart.
    ring = Keyring.generate()
    old = ring.active("vault")
    twin = type(old)(id=old.id + 50, purpose="vault", material=old.material)
    sealer = Sealer(Keyring([*ring.keys, twin]), "vault", free)
    sealed = sealer.seal(b"value", b"here")
    assert sealer.open(sealed, b"here") == b"value"
    with pytest.raises(SealBroken):
        sealer.open(old.id.to_bytes(4, "big") + sealed[4:], b"here")


def test_a_worn_out_key_seals_no_more() -> None:
    promised = [WORN_OUT - ALLOTMENT]

    def reserve(_key: int, amount: int) -> int:
        promised[0] += amount
        return promised[0]

    sealer = Sealer(Keyring.generate(), "vault", reserve)
    for _ in range(ALLOTMENT):
        sealer.seal(b"", b"")
    with pytest.raises(KeyWornOut):
        sealer.seal(b"", b"")


def test_seals_are_counted_in_the_database(log: EventLog) -> None:
    log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="a"))))
    rows = log.recorder.rows("SELECT key_id, seals FROM log.key_use")
    assert rows == [(log.keyring.active("events").id, ALLOTMENT)]


WORDS = "unmistakable"


def fill(log: EventLog) -> UUID:
    """One of everything that is sealed; the command's id."""
    subject, owner, command = uuid4(), uuid4(), uuid4()
    facts = (ShelfOpened(name=WORDS), ShelfNoted(notes=(Private(subject, WORDS),)))
    log.append(
        writes(
            *envelopes(owner, 0, *facts),
            puts=[VaultPut(kind="k", owner=owner, id="i", value=WORDS.encode())],
            blobs=[WORDS.encode()],
            answer=WORDS.encode(),
            command=command,
        )
    )
    return command


def everything(url: str) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(url) as owner:
        return {
            name: owner.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
            for name in ("log.events", "log.claims", "log.commands", "vault.items", "vault.blobs")
        }


def test_no_stored_row_shows_what_it_means(log: EventLog, database_url: str) -> None:
    fill(log)
    for table, rows in everything(database_url).items():
        assert rows, table
        for row in rows:
            for value in row:
                assert WORDS.encode() not in (value if isinstance(value, bytes) else b"")
                assert WORDS not in str(value)


def test_rotation_and_reseal_keep_commits_and_hashes(
    log: EventLog, database_url: str, app_url: str
) -> None:
    command = fill(log)
    before = everything(database_url)
    rotated = log.keyring.rotated("events").rotated("vault")
    again = EventLog(app_url, rotated, shelf_registry())
    again.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="new"))))
    with psycopg.connect(database_url, autocommit=True) as owner:
        assert reseal(owner, rotated) == 6  # two facts, key and item, blob, answer
        assert reseal(owner, rotated) == 0
    after = everything(database_url)
    assert [row[:4] + row[5:] for row in after["log.events"][:2]] == [
        row[:4] + row[5:] for row in before["log.events"]
    ]
    assert {row[4] for row in after["log.events"]}.isdisjoint(
        {row[4] for row in before["log.events"]}
    )
    assert verify_log(again, 3).fault is None
    again.close()
    bare = rotated
    for key in rotated.keys:
        if key.retired:
            bare = bare.without(key.id)
    opened = EventLog(app_url, bare, shelf_registry())
    assert verify_log(opened, 3).fault is None
    recorded, _ = opened.read(0, 10)
    shelf = recorded[0].envelope.originator_id
    loaded = opened.load(shelf, evolve)
    assert loaded is not None
    assert loaded.notes == (WORDS,)
    assert opened.vault_get("k", shelf, "i") == WORDS.encode()
    assert opened.blob(opened.blob_ref(WORDS.encode())) == WORDS.encode()
    answer = opened.answer(command)
    assert answer is not None
    assert answer.answer == WORDS.encode()
    opened.close()


def test_a_ring_of_another_log_is_noticed_at_start(log: EventLog, app_url: str) -> None:
    other = EventLog(app_url, Keyring.generate(), shelf_registry())
    log.check_keyring()
    other.check_keyring()  # nothing is sealed yet: any ring will do
    fill(log)
    log.check_keyring()
    with pytest.raises(WrongKey):
        other.check_keyring()
    with pytest.raises(SealBroken):
        other.read(0, 10)
    other.close()
