"""The table of accounts and torrents, filled by chunks and by single changes alike."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.access_table import NO_PROOF, AccessTable
from tracker.wire import (
    CHUNK_ENTRIES,
    NO_HASH,
    TORRENT_ACCEPTED,
    TORRENT_CLOSED,
    TORRENT_PENDING,
    AccountEntry,
    TorrentEntry,
    pack_account,
    pack_torrent,
)

HASHES = [bytes([value]) * 20 for value in range(1, 9)]
FIRST = CHUNK_ENTRIES


def packed_chunk(torrents: list[TorrentEntry]) -> bytes:
    return b"".join(pack_torrent(entry) for entry in torrents)


def test_whole_chunk_is_known_by_number_and_hash() -> None:
    torrents = [
        TorrentEntry(number, 7, number.to_bytes(20, "big"), NO_HASH, TORRENT_ACCEPTED + number % 3)
        for number in range(FIRST, FIRST + CHUNK_ENTRIES)
    ]
    table = AccessTable()
    table.replace_torrents(1, packed_chunk(torrents))
    for entry in torrents:
        assert table.torrent(entry.canonical) == entry
        assert table.torrent_numbered(entry.number) == entry
    assert table.torrent(NO_HASH) is None
    assert table.torrent_numbered(FIRST - 1) is None


entries = st.lists(
    st.tuples(
        st.integers(FIRST, FIRST + 5),
        st.sampled_from(HASHES),
        st.sampled_from([NO_HASH, *HASHES]),
        st.sampled_from([TORRENT_ACCEPTED, TORRENT_PENDING, TORRENT_CLOSED]),
    ),
    max_size=6,
    unique_by=(lambda row: row[0], lambda row: row[1]),
)


@given(entries, entries, st.booleans())
@settings(max_examples=300, deadline=None)
def test_chunks_and_changes_give_the_same_table(
    first: list[tuple[int, bytes, bytes, int]],
    second: list[tuple[int, bytes, bytes, int]],
    sorted_first: bool,
) -> None:
    rows = [[TorrentEntry(n, 1, h, a, s) for n, h, a, s in given] for given in (first, second)]
    if sorted_first:
        rows[0].sort()
    table = AccessTable()
    for state in rows:
        table.replace_torrents(1, packed_chunk(state))
    numbers = {entry.number: entry for entry in rows[1]}
    for number in range(FIRST, FIRST + 6):
        assert table.torrent_numbered(number) == numbers.get(number)
    for info_hash in HASHES:
        found = table.torrent(info_hash)
        holders = [entry for entry in rows[1] if info_hash in (entry.canonical, entry.alias)]
        if not holders:
            assert found is None
            continue
        # A closed torrent does not get back the hash that an open one had before.
        rivals = [entry for entry in rows[0] if info_hash in (entry.canonical, entry.alias)]
        assert found in holders or (found is None and rivals)
        if not rivals and any(entry.state != TORRENT_CLOSED for entry in holders):
            assert found is not None
            assert found.state != TORRENT_CLOSED


@pytest.mark.parametrize("whole", [True, False])
def test_open_torrent_has_its_hash_before_a_closed_one(whole: bool) -> None:
    for order in ((0, 1), (1, 0)):
        closed = TorrentEntry(FIRST + order[0], 1, HASHES[0], HASHES[1], TORRENT_CLOSED)
        again = TorrentEntry(FIRST + order[1], 1, HASHES[0], HASHES[1], TORRENT_ACCEPTED)
        table = AccessTable()
        for entry in sorted((closed, again)) if whole else (closed, again):
            if not whole:
                table.put_torrents(pack_torrent(entry))
        if whole:
            table.replace_torrents(1, packed_chunk(sorted((closed, again))))
        assert table.torrent(HASHES[0]) == again
        assert table.torrent(HASHES[1]) == again


def test_chunks_that_are_gone_are_forgotten() -> None:
    table = AccessTable()
    torrent = TorrentEntry(FIRST, 1, HASHES[0], HASHES[1], TORRENT_ACCEPTED)
    table.replace_torrents(1, pack_torrent(torrent))
    table.replace_accounts(0, pack_account(AccountEntry(9, 3, 3, 1, 1, 1, 1)))
    table.keep_chunks({0}, {1})
    assert table.torrent(HASHES[1]) == torrent
    table.keep_chunks({5}, {5})
    assert table.torrent(HASHES[0]) is None
    assert table.torrent(HASHES[1]) is None
    assert table.account(9) is None


def test_proof_goes_with_a_changed_account() -> None:
    table = AccessTable()
    entry = AccountEntry(9, 3, 3, 1, 1, 1, 1)
    table.replace_accounts(0, pack_account(entry))
    table.keep_proof(9, b"p" * 12)
    table.replace_accounts(0, pack_account(entry))
    assert table.proof(9) == b"p" * 12
    table.replace_accounts(0, pack_account(entry._replace(epoch_announce=2)))
    assert table.proof(9) == NO_PROOF


@pytest.mark.parametrize("size", [55, 57, 56 * CHUNK_ENTRIES + 56])
def test_torn_chunk_changes_nothing(size: int) -> None:
    table = AccessTable()
    with pytest.raises(struct.error):
        table.replace_torrents(1, bytes(size))
    assert table.torrent_numbered(FIRST) is None
