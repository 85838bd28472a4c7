"""An event log on a fresh database, with the login of the processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from application.store.keyring import Keyring
from application.store.log import EventLog
from tests.application.store.shelves import shelf_registry


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.generate()


@pytest.fixture
def log(app_url: str, keyring: Keyring) -> Iterator[EventLog]:
    opened = EventLog(app_url, keyring, shelf_registry())
    yield opened
    opened.close()
