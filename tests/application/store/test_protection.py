"""The login of the processes can add to the record, and do nothing else to it."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from application.ports import VaultPut
from application.store.log import EventLog
from tests.application.store.shelves import ShelfOpened, envelopes, writes

TABLES = (
    "log.events",
    "log.commands",
    "log.claims",
    "log.heads",
    "log.key_use",
    "log.migrations",
    "vault.items",
    "vault.blobs",
    "ledger.batches",
    "ledger.records",
)


@pytest.fixture
def filled(log: EventLog) -> EventLog:
    put = VaultPut(kind="k", owner=uuid4(), id="", value=b"v")
    log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="a")), puts=[put], blobs=[b"blob"]))
    return log


@pytest.mark.parametrize("verb", ["UPDATE", "DELETE", "TRUNCATE", "INSERT"])
def test_the_record_is_not_changed_on_a_process_connection(filled: EventLog, verb: str) -> None:
    with filled.recorder.datastore.pool.connection() as conn:
        for table in TABLES:
            if (verb, table) == ("INSERT", "ledger.records"):
                continue  # the archiver copies records in; they are checked against their batch
            columns = conn.execute(f"SELECT * FROM {table} LIMIT 0").description or []
            statement = {
                "UPDATE": f"UPDATE {table} SET {columns[0].name} = {columns[0].name}",
                "DELETE": f"DELETE FROM {table}",
                "TRUNCATE": f"TRUNCATE {table}",
                "INSERT": f"INSERT INTO {table} SELECT * FROM {table}",
            }[verb]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)


def test_a_day_of_the_ledger_takes_rows_and_keeps_them(log: EventLog) -> None:
    with log.recorder.datastore.pool.connection() as conn:
        day = conn.execute("SELECT ledger.ensure_day('2026-03-01') AS name").fetchone()
        assert day is not None
        name = day["name"]
        assert name == "records_20260301"
        conn.execute("SELECT ledger.ensure_day('2026-03-01')")
        at = 1772366400_000000  # 2026-03-01T12:00:00Z
        for table in ("ledger.records", f"ledger.{name}"):
            conn.execute(
                f"INSERT INTO {table} VALUES"
                " (1, %s, 1, 2, 3, 4, 0, 1, 1, 6881, 1800, 0, 4, 1, 0, '', '', '')",
                (at,),
            )
        count = conn.execute(f"SELECT count(*) AS n FROM ledger.{name}").fetchone()
        assert count == {"n": 2}
        for statement in (
            f"DELETE FROM ledger.{name}",
            f"UPDATE ledger.{name} SET up = 0",
            f"TRUNCATE ledger.{name}",
            f"DROP TABLE ledger.{name}",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)


@pytest.mark.parametrize(
    "call",
    [
        "SELECT log.change_claims(array['k'], array[''::bytea], array[gen_random_uuid()], '{t}')",
        "SELECT vault.change_items(array['k'], array[gen_random_uuid()], '{x}', '{x}', '{f}')",
        "SELECT setval('log.account_numbers', 1)",
        "CREATE TABLE log.mine (n int)",
        "CREATE FUNCTION log.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE log.events DISABLE TRIGGER ALL",
        "DROP FUNCTION log.prune_commands(timestamptz)",
    ],
)
def test_no_way_around_the_functions(log: EventLog, call: str) -> None:
    with (
        log.recorder.datastore.pool.connection() as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        conn.execute(call)


def test_commands_of_the_last_day_are_never_pruned(log: EventLog, database_url: str) -> None:
    young, old = uuid4(), uuid4()
    log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="a")), command=young))
    log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="b")), command=old))
    with psycopg.connect(database_url) as owner:
        owner.execute("UPDATE log.commands SET at = at - interval '2 days' WHERE id = %s", (old,))
    rows = log.recorder.rows("SELECT log.prune_commands('infinity')")
    assert rows == [(1,)]
    assert log.answer(young) is not None
    assert log.answer(old) is None


def test_read_models_may_be_made(log: EventLog) -> None:
    with log.recorder.datastore.pool.connection() as conn:
        conn.execute("CREATE SCHEMA shelves_1")
        conn.execute("CREATE TABLE shelves_1.shelves (id uuid PRIMARY KEY)")
