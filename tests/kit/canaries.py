"""Secrets a test plants, and the hunt for them in everything an installation leaves behind."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql
from redis import Redis

SHORTEST = 8
"""Bytes; anything shorter would be found by chance."""


@dataclass(frozen=True)
class Canary:
    """A secret by its name, with all the ways it could be spelt."""

    name: str
    forms: frozenset[bytes]


def canary(name: str, *spellings: str | bytes) -> Canary:
    """A secret in each of its `spellings`: text as people see it, bytes as programs hold it."""
    raw = [each.encode() if isinstance(each, str) else each for each in spellings]
    return Canary(name, frozenset(form for each in raw for form in _forms(each)))


def _forms(raw: bytes) -> Iterator[bytes]:
    assert len(raw) >= SHORTEST, raw
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield quote(raw, safe="").encode()
    for before in range(3):
        # Base64 of a longer text holds one of three forms; its ends depend on the neighbours.
        whole = bytes(before) + raw
        start, end = -(-before * 8 // 6), len(whole) * 8 // 6
        for encoded in (b64encode(whole), urlsafe_b64encode(whole)):
            yield encoded[start:end]
            yield encoded[start:end].hex().encode()


def found(canaries: Iterable[Canary], where: bytes) -> set[str]:
    """Names of those that stand in `where`, in any spelling."""
    return {each.name for each in canaries if any(form in where for form in each.forms)}


def dumped(*logins: str) -> Iterator[tuple[str, bytes]]:
    """Every table of a database by name, each read by the first of `logins` that may.

    In the binary form of COPY, so texts and bytes stand there as they are. AssertionError where
    nobody may read a table: nothing is left unlooked at.
    """
    done: set[str] = set()
    for login in logins:
        with psycopg.connect(login) as conn:
            tables = conn.execute(
                "SELECT schemaname, tablename, has_schema_privilege(schemaname, 'USAGE')"
                " AND has_table_privilege(c.oid, 'SELECT') FROM pg_tables"
                " JOIN pg_class c ON relname = tablename AND relnamespace = schemaname::regnamespace"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
            ).fetchall()
            for schema, table, readable in tables:
                name = f"{schema}.{table}"
                if readable and name not in done:
                    done.add(name)
                    yield name, _rows(conn, sql.Identifier(schema, table))
    assert done == {f"{schema}.{table}" for schema, table, _ in tables}


def _rows(conn: psycopg.Connection[Any], table: sql.Identifier) -> bytes:
    # A query, as COPY refuses to read a partitioned table by its name.
    statement = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT (FORMAT binary)").format(table)
    with conn.cursor().copy(statement) as copy:
        return b"".join(bytes(part) for part in copy)


def redis_dumped(redis: Redis) -> Iterator[tuple[str, bytes]]:
    """Every key with all it holds, by name."""
    for key in redis.scan_iter(count=1000):
        yield key.decode(errors="replace"), b"\n".join((key, *_flat(_value(redis, key))))


def _value(redis: Redis, key: bytes) -> Any:
    readers: dict[bytes, Any] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"set": redis.smembers,
        b"list": lambda name: redis.lrange(name, 0, -1),
        b"zset": lambda name: redis.zrange(name, 0, -1, withscores=True),
        b"stream": redis.xrange,
        b"none": lambda _: b"",
    }
    kind: Any = redis.type(key)
    return readers[kind](key)


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from (*_flat(name), *_flat(each))
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from _flat(each)
    else:
        yield str(value).encode()
