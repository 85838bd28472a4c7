"""Loads the access feed's copy at once, for a start that need not answer anybody meanwhile."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from tracker.access_table import AccessTable
from tracker.redis_link import RedisCalls
from tracker.resp import Reply, pack_command
from tracker.wire import (
    ACCESS_ACCOUNTS,
    ACCESS_ADDRESSES,
    ACCESS_RULES,
    ACCESS_SEQ,
    ACCESS_SOURCE,
    ACCESS_TORRENTS,
)

_CHUNKS_A_CALL: Final = 16
"""Chunks of torrents have 224 KiB, so a few megabytes are on their way at once."""


class LoadedAccess(NamedTuple):
    """The copy as it stood at `seq`: packed tables, and the replies with rules and bans."""

    seq: int
    source: bytes | None
    table: AccessTable
    rules: Reply
    addresses: Reply


def load_access(calls: RedisCalls) -> LoadedAccess | None:
    """All of the copy; None where none is published, or it cannot be read.

    The sequence is read before the chunks, so these hold at least all changes up to it. Raises
    RedisError, OSError.
    """
    seq, source = read_published(calls.call(pack_command("MGET", ACCESS_SEQ, ACCESS_SOURCE)))
    if seq < 0:
        return None
    rules = calls.call(pack_command("GET", ACCESS_RULES))
    addresses = calls.call(pack_command("HGETALL", ACCESS_ADDRESSES))
    table = AccessTable()
    keys = _chunk_keys(calls)
    try:
        for at in range(0, len(keys), _CHUNKS_A_CALL):
            some = keys[at : at + _CHUNKS_A_CALL]
            replies = calls.call_all([pack_command("GET", key) for key in some])
            for key, reply in zip(some, replies, strict=True):
                put_chunk(table, key, reply)
    except struct.error:
        return None
    return LoadedAccess(seq, source, table, rules, addresses)


def put_chunk(table: AccessTable, key: bytes, reply: Reply) -> None:
    """Take a chunk over as it stands in Redis. Raises struct.error when it is torn."""
    place = chunk_of(key)
    if place is None or not isinstance(reply, bytes):
        return
    prefix, number = place
    if prefix == ACCESS_ACCOUNTS:
        table.replace_accounts(number, reply)
    else:
        table.replace_torrents(number, reply)


def chunk_of(key: bytes) -> tuple[str, int] | None:
    """Prefix and number of a chunk's key; None for a key that is none."""
    for prefix in (ACCESS_ACCOUNTS, ACCESS_TORRENTS):
        number = key.removeprefix(prefix.encode("ascii"))
        if len(number) < len(key) and number.isdigit():
            return prefix, int(number)
    return None


def read_published(reply: Reply) -> tuple[int, bytes | None]:
    """The published sequence (-1: none) and the name of its history."""
    match reply:
        case [bytes(seq), bytes() | None as source] if seq.isdigit():
            return int(seq), source
        case _:
            return -1, None


def _chunk_keys(calls: RedisCalls) -> list[bytes]:
    keys: set[bytes] = set()
    cursor = b"0"
    while True:
        match calls.call(pack_command("SCAN", cursor, "MATCH", "access:*:*", "COUNT", 1_000)):
            case [bytes() as following, list(found)]:
                keys.update(key for key in found if isinstance(key, bytes))
                cursor = following
            case _:
                return []
        if cursor == b"0":
            return sorted(keys)
