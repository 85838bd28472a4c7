"""Pools of connections the read models are asked over."""

from __future__ import annotations

import select
from typing import Any, Final

from psycopg import Connection
from psycopg_pool import ConnectionPool

PLANNING: Final = " ".join(
    f"-c {setting}"
    for setting in (
        "plan_cache_mode=force_generic_plan",
        "random_page_cost=1.1",
        "max_parallel_workers_per_gather=0",
        "jit=off",
    )
)
"""Plans that last, made for memory and disks without heads: indexes are walked, not tables.

Starting other processes, or compiling, takes longer than any of these statements should.
"""
Pool = ConnectionPool[Connection[Any]]


def read_pool(url: str, *, name: str, most: int, timeout: float) -> Pool:
    """Connections on which each statement is its own transaction unless one is opened."""
    return _pool(url, name=name, least=1, most=most, timeout=timeout)


def catalogue_pool(url: str, *, name: str, most: int, timeout: float) -> Pool:
    """The same for the catalogue's statements, opened when they are needed.

    Those are made so that one plan serves whatever is asked; planning anew is most of their cost.
    """
    return _pool(
        url,
        name=f"{name}-catalogue",
        application=name,
        least=0,
        most=most,
        timeout=timeout,
        options=PLANNING,
    )


def _pool(
    url: str,
    *,
    name: str,
    least: int,
    most: int,
    timeout: float,
    application: str | None = None,
    **settings: str,
) -> Pool:
    return ConnectionPool(
        url,
        min_size=least,
        max_size=most,
        timeout=timeout,
        open=False,
        name=name,
        check=check_connection,
        kwargs={
            "application_name": f"trackarr {application or name}",
            "autocommit": True,
            **settings,
        },
    )


def check_connection(conn: Connection[Any]) -> None:
    """Raise `psycopg.OperationalError` where the server has ended this idle connection.

    It would have said so, which can be seen without asking it: a round trip for each request
    would be a tenth of its time. Whatever else it said is looked at by asking.
    """
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    if poll.poll(0):
        ConnectionPool.check_connection(conn)
