"""An event log on a fresh database with its bus and some read models, for state machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from application.bus import Bus
from application.handlers import HANDLERS, TAKEN
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from projections import engine
from tests.kit.servers import TestServers


@dataclass(frozen=True)
class RealLog:
    """What commands go through and queries read; read models move only when they are stepped."""

    app_url: str
    conn: psycopg.Connection[Any]
    log: EventLog
    bus: Bus


@contextmanager
def real_log(servers: TestServers, projections: Sequence[engine.Projection]) -> Iterator[RealLog]:
    """All of it, with these read models installed; the database goes afterwards."""
    with (
        servers.database() as database,
        psycopg.connect(database.app_url, autocommit=True) as conn,
    ):
        for projection in projections:
            engine.install(conn, projection)
        log = EventLog(database.app_url, Keyring.generate(), registry())
        try:
            bus = Bus(log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)
            yield RealLog(database.app_url, conn, log, bus)
        finally:
            log.close()
