"""A fresh application for each test, and callers in each role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from projections.registry import ALL
from tests.kit.accounts import administrator, member, moderator
from tests.kit.api import Api, install_read_models, running_api
from tests.kit.browser import Browser
from tests.kit.servers import Database, TestServers


@pytest.fixture(scope="session")
def with_read_models(servers: TestServers) -> Iterator[Database]:
    """A database with empty read models, made once to be cloned."""
    with servers.database() as made:
        install_read_models(made.app_url, ALL)
        yield made


@pytest.fixture
def database(servers: TestServers, with_read_models: Database) -> Iterator[Database]:
    with servers.database(like=with_read_models) as fresh:
        yield fresh


@pytest.fixture
def api(database: Database, redis_url: str) -> Iterator[Api]:
    with running_api(database.app_url, redis_url) as running:
        yield running


@pytest.fixture
def anonymous(api: Api) -> Browser:
    return api.browser()


@pytest.fixture
def admin(api: Api) -> Browser:
    return administrator(api)


@pytest.fixture
def alice(api: Api, admin: Browser) -> Browser:
    return member(api, "alice")


@pytest.fixture
def mona(api: Api, admin: Browser) -> Browser:
    return moderator(api, "mona")
