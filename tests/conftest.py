"""Fixtures every test folder may use: running servers, a fresh database, an empty Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.kit.servers import Database, TestServers, flush, running_servers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Large files first, and after each two of them one of whole installations.

    Those wait most: they would be awaited at the end, and side by side they hold each other up.
    Files of one size keep the order of pytest-randomly.
    """
    sizes = Counter(item.path for item in items)
    files = sorted(sizes, key=lambda path: -sizes[path])
    others = [path for path in files if "e2e" not in path.parts]
    place: dict[Path, float] = {path: float(at) for at, path in enumerate(others)}
    whole = [path for path in files if "e2e" in path.parts]
    place |= {path: 2 * at - 0.5 for at, path in enumerate(whole)}
    items.sort(key=lambda item: place[item.path])


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    """A command run in this process sends log lines to a stream that closes with its test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def servers() -> Iterator[TestServers]:
    """PostgreSQL and Redis of this test process, started when the first test asks."""
    with running_servers() as running:
        yield running


@pytest.fixture
def database(servers: TestServers) -> Iterator[Database]:
    """A fresh migrated database with both logins."""
    with servers.database() as fresh:
        yield fresh


@pytest.fixture
def database_url(database: Database) -> str:
    """The owner's URL of a fresh migrated database (what an operator gives as DATABASE_URL)."""
    return database.owner_url


@pytest.fixture
def app_url(database: Database) -> str:
    """The URL of the same database for login `trackarr_app`, as our processes connect."""
    return database.app_url


@pytest.fixture
def empty_database_url(servers: TestServers) -> Iterator[str]:
    """The owner's URL of a fresh database without any migration."""
    with servers.database(migrated=False) as fresh:
        yield fresh.owner_url


@pytest.fixture
def redis_url(servers: TestServers) -> str:
    """The URL of a Redis database of this test process alone, emptied."""
    flush(servers.redis_url)
    return servers.redis_url
