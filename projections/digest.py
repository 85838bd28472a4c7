"""Digests of projected tables, and the rows in which two schemas differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from psycopg import sql

from projections.engine import Connection, Projection, tuples

SHOWN_DIFFERENCES = 10


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A row that differs: its table, its primary key in column order, and how it differs."""

    table: str
    key: tuple[str, ...]
    kind: str

    @property
    def text(self) -> str:
        return f"{self.table} {'/'.join(self.key)}: {self.kind}"


def digest_tables(conn: Connection, projection: Projection, schema: str) -> dict[str, bytes]:
    """SHA-256 of each digested table's rows, in key order, in PostgreSQL's binary COPY format.

    Comparable between schemas of one server; not between major versions of PostgreSQL.
    """
    return {
        table: _digest_table(conn, schema, table, keys)
        for table, keys in sorted(projection.keys.items())
    }


def _digest_table(conn: Connection, schema: str, table: str, keys: tuple[str, ...]) -> bytes:
    digest = hashlib.sha256()
    query = sql.SQL("COPY (SELECT * FROM {}.{} ORDER BY {}) TO STDOUT (FORMAT binary)").format(
        sql.Identifier(schema), sql.Identifier(table), _columns(keys)
    )
    with tuples(conn).copy(query) as rows:
        for row in rows:
            digest.update(row)
    return digest.digest()


def combine(digests: Mapping[str, bytes]) -> bytes:
    """One digest of a projection from those of its tables."""
    whole = hashlib.sha256()
    for table, digest in sorted(digests.items()):
        whole.update(table.encode() + b"\0" + digest)
    return whole.digest()


def find_differences(
    conn: Connection,
    projection: Projection,
    schema: str,
    other: str,
    *,
    limit: int = SHOWN_DIFFERENCES,
) -> list[Difference]:
    """The first rows in which `schema` differs from `other`, byte for byte, at most `limit`."""
    found: list[Difference] = []
    for table, keys in sorted(projection.keys.items()):
        if len(found) >= limit:
            break
        found += _table_differences(
            conn, (schema, other), table=table, keys=keys, limit=limit - len(found)
        )
    return found


def _table_differences(
    conn: Connection,
    schemas: tuple[str, str],
    *,
    table: str,
    keys: tuple[str, ...],
    limit: int,
) -> list[Difference]:
    # record_image operators compare the stored bytes: `=` takes 1.0 for 1.00.
    query = sql.SQL(
        "SELECT l.{first} IS NULL, r.{first} IS NULL, {keys}"
        " FROM {left}.{table} l FULL JOIN {right}.{table} r USING ({using})"
        " WHERE l.{first} IS NULL OR r.{first} IS NULL OR l::record *<> r::record"
        " ORDER BY {using} LIMIT {limit}"
    ).format(
        first=sql.Identifier(keys[0]),
        keys=sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(key)) for key in keys),
        left=sql.Identifier(schemas[0]),
        right=sql.Identifier(schemas[1]),
        table=sql.Identifier(table),
        using=_columns(keys),
        limit=sql.Literal(limit),
    )
    return [_difference(table, row) for row in tuples(conn).execute(query).fetchall()]


def _difference(table: str, row: tuple[Any, ...]) -> Difference:
    missing_left, missing_right, *key = row
    kind = "is missing" if missing_left else "should not be there" if missing_right else "differs"
    return Difference(table=table, key=tuple(key), kind=kind)


def _columns(keys: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(key) for key in keys)
