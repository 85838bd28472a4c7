"""Addresses become keyed hashes of their month, however many there are and however they repeat."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest

from projections import address_hashes
from projections.address_hashes import AddressHasher
from projections.peer_records import Records
from tests.projections.peer_sets import hostile_records

NOVEMBER = int(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()) * 1_000_000
LOCAL = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1])


def month_key(month: str) -> bytes:
    return hashlib.sha256(month.encode()).digest()


def hash_of(address: bytes, month: str) -> bytes:
    return hashlib.blake2b(address, digest_size=16, key=month_key(month)).digest()


def records_of(addresses: list[bytes], at: int = NOVEMBER) -> Records:
    records = hostile_records(len(addresses), seed=1)
    records["at"] = at
    records["address"] = np.frombuffer(b"".join(addresses), "V16")
    return records


def test_addresses_are_hashed_under_the_month_of_their_record() -> None:
    records = records_of([LOCAL] * 3)
    records["at"] = [NOVEMBER, NOVEMBER + 2_000_000, NOVEMBER]
    hashed = AddressHasher(month_key, seed=1).hash_addresses(records)
    assert [bytes(value) for value in hashed["address"]] == [
        hash_of(LOCAL, month) for month in ("2026-11", "2026-12", "2026-11")
    ]
    assert bytes(records["address"][0]) == LOCAL
    assert hashed["peer"].tobytes() == records["peer"].tobytes()


def test_no_records_need_no_key() -> None:
    def no_key(month: str) -> bytes:
        raise AssertionError(month)

    assert len(AddressHasher(no_key, seed=1).hash_addresses(records_of([LOCAL])[:0])) == 0


def test_many_addresses_old_and_new_have_each_their_own_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(address_hashes, "_KEPT", 300)
    chance = np.random.default_rng(5)
    addresses = [chance.bytes(16) for _ in range(1_000)]
    # Neighbours in both halves: a key that loses bits confuses them.
    addresses += [bytes(8) + n.to_bytes(8, "big") for n in range(50)]
    addresses += [n.to_bytes(8, "little") + bytes(8) for n in range(50)]
    hasher = AddressHasher(month_key, seed=1)
    for _ in range(12):
        chosen = [addresses[n] for n in chance.integers(0, len(addresses), 200)]
        hashed = hasher.hash_addresses(records_of(chosen))["address"]
        assert [bytes(value) for value in hashed] == [hash_of(a, "2026-11") for a in chosen]


def test_a_key_is_asked_for_only_while_addresses_are_new() -> None:
    asked: list[str] = []

    def key_of(month: str) -> bytes:
        asked.append(month)
        return month_key(month)

    hasher = AddressHasher(key_of, seed=1)
    for at in (NOVEMBER, NOVEMBER, NOVEMBER + 2_000_000):
        hasher.hash_addresses(records_of([LOCAL, bytes(16)], at))
    assert asked == ["2026-11", "2026-12"]
