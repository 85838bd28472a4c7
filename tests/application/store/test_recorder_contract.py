"""The event-store library's own contract for recorders, run against ours."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import pytest
from eventsourcing.tests import persistence

from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.recorder import EventLogRecorder
from tests.application.store.shelves import shelf_registry

# Named through its module, so that pytest does not also collect the abstract original.


class TestEventLogRecorder(persistence.ApplicationRecorderTestCase[EventLogRecorder]):
    @pytest.fixture(autouse=True)
    def _open(self, app_url: str) -> Iterator[None]:
        log = EventLog(app_url, Keyring.generate(), shelf_registry(), max_overflow=14)
        self.recorder = log.recorder
        with contextlib.redirect_stdout(io.StringIO()):
            yield
        log.close()

    def create_recorder(self) -> EventLogRecorder:
        return self.recorder

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()
