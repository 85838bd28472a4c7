"""Many writers and readers at once, lost connections, and VACUUM in the middle."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import OperationalError, StoredEvent
from psycopg import sql

from application.ports import (
    Appended,
    AppendRefused,
    CommandRepeated,
    VaultPut,
)
from application.store.keyring import Keyring
from application.store.log import EventLog
from domain.errors import Unavailable
from domain.kernel import Private
from ops.migrations.migrate import migrations
from tests.application.store.shelves import (
    ShelfNoted,
    ShelfOpened,
    ShelfRenamed,
    envelopes,
    evolve,
    shelf_registry,
    writes,
)
from tests.kit.servers import TestServers

KILL_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE usename = 'trackarr_app' AND datname = current_database() AND pid <> pg_backend_pid()
"""


def notes(count: int) -> tuple[ShelfNoted, ...]:
    return tuple(ShelfNoted(notes=()) for _ in range(count))


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Results, or exceptions, of calls released at the same moment."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except AppendRefused as refused:
            return refused

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_a_tailing_reader_misses_nothing(app_url: str, keyring: Keyring) -> None:
    small, large, reader = (EventLog(app_url, keyring, shelf_registry()) for _ in range(3))

    def write(log: EventLog, times: int, facts: int) -> None:
        for _ in range(times):
            log.append(writes(*envelopes(uuid4(), 0, *notes(facts))))

    total = 250 + 12 * 200
    seen: list[int] = []
    threads = [
        threading.Thread(target=write, args=(small, 250, 1)),
        threading.Thread(target=write, args=(large, 12, 200)),
    ]
    for thread in threads:
        thread.start()
    after, deadline = 0, time.monotonic() + 60
    while len(seen) < total and time.monotonic() < deadline:
        recorded, last = reader.read(after, 37)
        seen += [r.position for r in recorded]
        after = last
    for thread in threads:
        thread.join()
    assert seen == list(range(1, total + 1))
    for log in (small, large, reader):
        log.close()


def test_appends_run_on_during_a_vacuum(log: EventLog, database_url: str) -> None:
    for _ in range(4):
        log.append(writes(*envelopes(uuid4(), 0, *notes(500))))
    with _throttled_vacuum(database_url) as holds_lock:
        worst = 0.0
        for _ in range(20):
            started = time.monotonic()
            log.append(writes(*envelopes(uuid4(), 0, *notes(1))))
            worst = max(worst, time.monotonic() - started)
        assert holds_lock(), "the VACUUM ended before the appends: it proves nothing"
    assert worst < 1.0
    assert log.head() == 2020


@contextmanager
def _throttled_vacuum(url: str) -> Iterator[Callable[[], bool]]:
    """A slow VACUUM of the log in the background; the answer asks whether it holds its lock."""
    vacuum = psycopg.connect(url, autocommit=True)
    vacuum.execute("SET vacuum_cost_delay = 100")
    vacuum.execute("SET vacuum_cost_limit = 1")
    watcher = psycopg.connect(url, autocommit=True)

    def run() -> None:
        with pytest.raises(psycopg.errors.QueryCanceled):
            vacuum.execute("VACUUM log.events")

    def holds_lock() -> bool:
        found = watcher.execute(
            "SELECT FROM pg_locks WHERE relation = 'log.events'::regclass AND pid = %s"
            " AND mode = 'ShareUpdateExclusiveLock' AND granted",
            (vacuum.info.backend_pid,),
        ).fetchone()
        return found is not None

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 20
    while not holds_lock() and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        yield holds_lock
    finally:
        vacuum.cancel_safe()
        thread.join()
        vacuum.close()
        watcher.close()


def test_the_same_command_at_once_is_done_once(log: EventLog) -> None:
    for number in range(10):
        command = uuid4()
        given = [
            writes(*envelopes(uuid4(), 0, ShelfOpened(name=str(number))), command=command)
            for _ in range(3)
        ]
        results = at_once(*[partial(log.append, w) for w in given])
        assert sorted(type(r).__name__ for r in results) == [
            "Appended",
            "CommandRepeated",
            "CommandRepeated",
        ]
    assert log.head() == 10


@pytest.fixture
def no_second_attempt(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadlock would be hidden by the second attempt that follows every lost outcome."""

    def refuse() -> None:
        pytest.fail("an append was tried a second time")

    monkeypatch.setattr(log.recorder, "drop_broken_connections", refuse)


@pytest.mark.usefixtures("no_second_attempt")
def test_names_taken_in_opposite_order_do_not_block(log: EventLog) -> None:
    def take(names: list[str]) -> Appended:
        facts = [ShelfRenamed(old="none", new=name) for name in names]
        return log.append(writes(*envelopes(uuid4(), 0, *facts)))

    for number in range(15):
        names = [f"{number}-{n}" for n in range(40)]
        results = at_once(partial(take, names), partial(take, names[::-1]))
        assert sorted(type(r).__name__ for r in results) == ["Appended", "ClaimTaken"]


@pytest.mark.usefixtures("no_second_attempt")
def test_vault_items_changed_in_opposite_order_do_not_block(log: EventLog) -> None:
    owner = uuid4()
    puts = [VaultPut(kind="k", owner=owner, id=str(n), value=b"v") for n in range(40)]
    for _ in range(15):
        results = at_once(
            lambda: log.append(writes(puts=puts)), lambda: log.append(writes(puts=puts[::-1]))
        )
        assert [type(r) for r in results] == [Appended, Appended]


def test_one_of_two_values_created_at_once_is_kept(log: EventLog) -> None:
    for number in range(15):
        owner = uuid4()
        puts = [VaultPut(kind="k", owner=owner, id="", value=f"{number}{w}".encode()) for w in "ab"]
        first, second = at_once(*[partial(log.vault_create, put) for put in puts])
        assert first == second == log.vault_get("k", owner, "")


def test_two_first_notes_about_one_subject_share_its_key(log: EventLog) -> None:
    for _ in range(10):
        subject = uuid4()
        shelves = [uuid4(), uuid4()]

        def note(shelf: UUID, subject: UUID) -> Appended:
            fact = ShelfNoted(notes=(Private(subject, "text"),))
            return log.append(writes(*envelopes(shelf, 0, ShelfOpened(name=str(shelf)), fact)))

        results = at_once(*[partial(note, shelf, subject) for shelf in shelves])
        assert [type(r) for r in results] == [Appended, Appended]
        loaded = [log.load(shelf, evolve) for shelf in shelves]
        assert [shelf.notes for shelf in loaded if shelf] == [("text",), ("text",)]


def test_a_lost_acknowledgement_is_no_second_append(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, real = uuid4(), log.recorder.insert_events
    lost = []

    def losing(events: list[StoredEvent], **kwargs: Any) -> list[int]:
        positions = real(events, **kwargs)
        if not lost:
            lost.append(positions)
            raise OperationalError("the connection was lost")
        return positions

    monkeypatch.setattr(log.recorder, "insert_events", losing)
    given = writes(*envelopes(shelf, 0, ShelfOpened(name="a")))
    appended = log.append(given)
    assert (appended.first, appended.last, log.head()) == (1, 1, 1)
    with pytest.raises(CommandRepeated):
        log.append(given)


def test_a_command_of_another_is_not_taken_for_our_own(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, real = uuid4(), log.recorder.insert_events
    log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="a")), command=command))
    failures = [OperationalError("the connection was lost")]

    def failing_once(events: list[StoredEvent], **kwargs: Any) -> list[int]:
        if failures:
            raise failures.pop()
        return real(events, **kwargs)

    monkeypatch.setattr(log.recorder, "insert_events", failing_once)
    with pytest.raises(CommandRepeated):
        log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="b")), command=command))


def test_killed_connections_are_replaced(log: EventLog, app_url: str) -> None:
    shelf = uuid4()
    log.append(writes(*envelopes(shelf, 0, ShelfOpened(name="a"))))
    with psycopg.connect(app_url, autocommit=True) as killer:
        killer.execute(KILL_OTHERS)
        assert log.load(shelf, evolve) is not None
        killer.execute(KILL_OTHERS)
        log.append(writes(*envelopes(shelf, 1, ShelfRenamed(old="a", new="b"))))
    assert log.head() == 2


def test_a_database_out_of_reach_is_told_as_unavailable(
    app_url: str, servers: TestServers, keyring: Keyring
) -> None:
    log = EventLog(app_url, keyring, shelf_registry(), wait=0.3)
    with psycopg.connect(app_url, autocommit=True) as killer:
        name = sql.Identifier(killer.info.dbname)
        with psycopg.connect(servers.owner_url, autocommit=True) as owner:
            owner.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        killer.execute(KILL_OTHERS)
    for call in (
        partial(log.append, writes(*envelopes(uuid4(), 0, ShelfOpened(name="a")))),
        partial(log.load, uuid4(), evolve),
        partial(log.read, 0, 10),
        partial(log.vault_get, "k", uuid4(), ""),
        log.head,
    ):
        with pytest.raises(Unavailable):
            call()
    log.close()


def test_an_append_is_answered_when_it_is_durable(log: EventLog, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as watcher:
        for number in range(30):
            given = envelopes(uuid4(), 0, ShelfOpened(name=str(number) * 400))
            before = watcher.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
            assert before is not None
            log.append(writes(*given))
            flushed = watcher.execute(
                "SELECT pg_current_wal_flush_lsn() - %s::pg_lsn", (before[0],)
            ).fetchone()
            # The fact alone, sealed, is longer than this: so it is on disk.
            assert flushed is not None
            assert flushed[0] > 400


PROCESS = """
import sys
from application.store.keyring import Keyring
from application.store.log import EventLog
from ops.migrations import migrate
from tests.application.store.shelves import *
migrated = migrate(sys.argv[1], app_password=sys.argv[2])
log = EventLog(migrated.app_conninfo, Keyring.generate(), shelf_registry())
log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name=sys.argv[3]))))
log.close()
print(migrated.protected)
"""


def test_processes_starting_at_once_migrate_once_and_all_append(
    empty_database_url: str, app_url: str
) -> None:
    password = psycopg.conninfo.conninfo_to_dict(app_url)["password"]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, empty_database_url, str(password), str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    results = [(p.communicate(timeout=60), p.returncode) for p in running]
    assert [code for _, code in results] == [0, 0, 0], results
    assert [out for (out, _), _ in results] == ["True\n"] * 3
    with psycopg.connect(empty_database_url) as owner:
        positions = owner.execute("SELECT notification_id FROM log.events ORDER BY 1").fetchall()
        versions = owner.execute("SELECT version FROM log.migrations ORDER BY 1").fetchall()
    assert positions == [(1,), (2,), (3,)]
    assert versions == [(m.version,) for m in migrations()]
