"""Digests tell any changed byte; the differing rows are named."""

from __future__ import annotations

import pytest

from application.store.log import EventLog
from projections import engine
from projections.digest import Difference, combine, digest_tables, find_differences
from projections.engine import Connection
from projections.rebuild import fill
from tests.projections.engine_kit import Jars, jar, story, write


@pytest.fixture
def twins(conn: Connection, log: EventLog) -> Connection:
    """Two equal schemas of jars, `jars_1` and `jars_twin`."""
    write(log, story(60))
    for schema in ("jars_1", "jars_twin"):
        engine.install(conn, Jars(), schema)
        fill(conn, log, Jars(), schema, upto=60)
    return conn


def differences(conn: Connection, limit: int = 10) -> list[Difference]:
    return find_differences(conn, Jars(), "jars_1", "jars_twin", limit=limit)


def same(conn: Connection) -> bool:
    return digest_tables(conn, Jars(), "jars_1") == digest_tables(conn, Jars(), "jars_twin")


def test_equal_tables_have_equal_digests_and_no_differences(twins: Connection) -> None:
    assert same(twins)
    assert differences(twins) == []


def test_the_digest_does_not_depend_on_where_rows_lie(twins: Connection) -> None:
    twins.execute("UPDATE jars_1.jars SET marbles = marbles WHERE id = %s", [jar(1)])
    assert same(twins)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("UPDATE jars_1.jars SET marbles = marbles + 1 WHERE id = %s", "differs"),
        (
            "UPDATE jars_1.jars SET changed_at = changed_at + '1 microsecond' WHERE id = %s",
            "differs",
        ),
        ("DELETE FROM jars_1.jars WHERE id = %s", "is missing"),
        ("DELETE FROM jars_twin.jars WHERE id = %s", "should not be there"),
    ],
)
def test_a_changed_row_changes_the_digest_and_is_named(
    twins: Connection, change: str, kind: str
) -> None:
    twins.execute(change, [jar(11)])
    assert not same(twins)
    assert differences(twins) == [Difference(table="jars", key=(str(jar(11)),), kind=kind)]


def test_every_digested_table_is_looked_at_and_the_list_is_bounded(twins: Connection) -> None:
    twins.execute("UPDATE jars_1.jars SET marbles = marbles + 1")
    twins.execute("UPDATE jars_1.counters SET value = 0")
    found = differences(twins, limit=4)
    assert found[0].text == "counters jars: differs"
    assert [row.table for row in found] == ["counters", "jars", "jars", "jars"]


def test_the_whole_digest_tells_which_table_holds_what() -> None:
    one = combine({"a": b"1" * 32, "b": b"2" * 32})
    assert one != combine({"a": b"2" * 32, "b": b"1" * 32})
    assert one == combine({"b": b"2" * 32, "a": b"1" * 32})
