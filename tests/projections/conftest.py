"""A connection as our processes have it, and a log of jars to fold."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from application.store.log import EventLog
from projections.engine import Connection
from tests.projections.engine_kit import open_jar_log


@pytest.fixture
def conn(app_url: str) -> Iterator[Connection]:
    """The application's login, in autocommit."""
    with psycopg.connect(app_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    """A real, empty event log that knows the facts of `engine_kit`."""
    with open_jar_log(app_url) as opened:
        yield opened
