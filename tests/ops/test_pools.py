"""Pools notice what the server did to a connection nobody used, without asking it each time."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from ops.container.pools import Pool, catalogue_pool, check_connection, read_pool
from tests.kit.servers import Database

PATIENCE = 5.0


def backend(conn: Connection[Any]) -> int:
    return conn.info.backend_pid


def value(conn: Connection[Any], setting: str) -> str:
    row = conn.execute("SELECT current_setting(%s)", [setting]).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("make", [read_pool, catalogue_pool])
def test_a_connection_the_server_ended_is_not_handed_out(database: Database, make: Any) -> None:
    pool: Pool = make(database.app_url, name="test", most=1, timeout=PATIENCE)
    with pool, psycopg.connect(database.app_url, autocommit=True) as other:
        with pool.connection() as conn:
            first = backend(conn)
        with pool.connection() as conn:
            assert backend(conn) == first
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [first])
        with pool.connection() as conn:
            assert backend(conn) != first
            assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_connection_that_heard_something_else_is_kept(database: Database) -> None:
    with (
        psycopg.connect(database.app_url, autocommit=True) as conn,
        psycopg.connect(database.app_url, autocommit=True) as other,
    ):
        conn.execute("LISTEN heard")
        other.execute("NOTIFY heard")
        time.sleep(0.05)
        check_connection(conn)
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_each_statement_is_its_own_transaction(database: Database) -> None:
    with (
        read_pool(database.app_url, name="test", most=1, timeout=PATIENCE) as pool,
        pool.connection() as conn,
    ):
        conn.execute("SELECT 1")
        assert conn.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


def test_plans_of_the_catalogue_last(database: Database) -> None:
    with (
        catalogue_pool(database.app_url, name="test", most=1, timeout=PATIENCE) as catalogue,
        read_pool(database.app_url, name="test", most=1, timeout=PATIENCE) as reads,
        catalogue.connection() as conn,
        reads.connection() as other,
    ):
        assert value(conn, "plan_cache_mode") == "force_generic_plan"
        assert value(other, "plan_cache_mode") == "auto"
        assert value(conn, "max_parallel_workers_per_gather") == "0"
        assert value(conn, "application_name") == "trackarr test"
