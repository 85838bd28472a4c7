"""A fresh application for each test, and callers in each role."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.registry import ALL
from tests.contracts.reference_contracts import claims_of_tests, shown_by
from tests.kit import calls
from tests.kit.accounts import administrator, member, moderator
from tests.kit.api import Api, install_read_models, running_api
from tests.kit.browser import Browser
from tests.kit.servers import Database, TestServers
from tests.kit.verified import require_verified


@pytest.fixture(autouse=True)
def _shows_what_it_is_named_for(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test the table of contracts names makes the calls it is named for."""
    calls.MADE.clear()
    yield
    shown = shown_by(calls.MADE)
    if into := os.environ.get("TRACKARR_NOTE_CALLS"):
        lines = ["\t".join((request.node.nodeid, *claim)) + "\n" for claim in sorted(shown)]
        with Path(into).open("a") as file:
            file.write("".join(lines))
        return
    missing = claims_of_tests().get(request.node.nodeid, frozenset()) - shown
    assert not missing, "named in reference_contracts.tsv for calls it does not make"


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
def api(database: Database, redis_url: str, request: pytest.FixtureRequest) -> Iterator[Api]:
    """A whole application; what a test made it write is verified as an auditor would."""
    with running_api(database.app_url, redis_url, installed=True) as running:
        yield running
        if request.node.get_closest_marker("by_hand") is None:
            require_verified(running)


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
