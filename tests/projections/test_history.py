"""The history: every fact by aggregate, actor, topic and time, and with its contents."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from application.ports import VaultErasure
from application.store.log import EventLog
from domain.kernel import Private
from projections import engine
from projections.engine import Connection
from projections.history import HistoryProjection, HistoryQuery, list_facts, list_latest_facts
from projections.history_search import ERASED, Entry, search_facts
from tests.projections.engine_kit import (
    START,
    JarClosed,
    JarMoved,
    JarOpened,
    NoteLeft,
    envelope,
    jar,
    story,
    write,
)

ANNA, BERT = UUID(int=1001), UUID(int=1002)


@pytest.fixture
def site(conn: Connection, log: EventLog) -> Connection:
    """60 facts of nobody, then one jar each of Anna and Bert."""
    engine.install(conn, HistoryProjection())
    write(log, story(60))
    write(log, [envelope(jar(900), 1, JarOpened(label="anna's"), number=61, actor=ANNA)])
    write(log, [envelope(jar(901), 1, JarOpened(label="bert's"), number=62, actor=BERT)])
    catch_up(conn, log)
    return conn


def catch_up(conn: Connection, log: EventLog) -> None:
    while isinstance(engine.step(conn, log, HistoryProjection()), int):
        pass


def found(conn: Connection, query: HistoryQuery) -> list[int]:
    return [row.position for row in list_facts(conn, query)]


def test_a_row_holds_the_whole_envelope(site: Connection) -> None:
    row = list_latest_facts(site, HistoryQuery(), limit=1)[0]
    assert (row.position, row.actor, row.topic) == (62, BERT, "jar.opened.1")
    assert (row.originator_id, row.originator_version) == (jar(901), 1)
    assert row.at == START + timedelta(seconds=62)
    assert (row.command, row.correlation) == (UUID(int=1 << 100 | 62), UUID(int=2 << 100 | 62))


@pytest.mark.parametrize(
    ("query", "positions"),
    [
        (HistoryQuery(aggregate=jar(900)), [61]),
        (HistoryQuery(actor=BERT), [62]),
        (HistoryQuery(topic="weather.noted.1", before=20), [3, 8, 13, 18]),
        (HistoryQuery(topic="weather.", before=10), [3, 8]),
        (HistoryQuery(topic="weather", before=10), [3, 8]),
        (HistoryQuery(topic="jar.opened", after=50), [51, 56, 61, 62]),
        (HistoryQuery(since=START + timedelta(seconds=61)), [61, 62]),
        (HistoryQuery(until=START + timedelta(seconds=3)), [1, 2]),
        (HistoryQuery(correlation=UUID(int=2 << 100 | 61)), [61]),
        (HistoryQuery(after=5, before=8), [6, 7]),
        (HistoryQuery(actor=ANNA, topic="weather."), []),
    ],
)
def test_facts_are_found_by_what_their_envelope_says(
    site: Connection, query: HistoryQuery, positions: list[int]
) -> None:
    assert found(site, query) == positions


def test_a_page_leads_to_the_next(site: Connection) -> None:
    first = list_latest_facts(site, HistoryQuery(), limit=3)
    second = list_latest_facts(site, HistoryQuery(before=first[-1].position), limit=3)
    assert [row.position for row in first + second] == [62, 61, 60, 59, 58, 57]


def searched(
    conn: Connection, log: EventLog, query: HistoryQuery, text: str | None, limit: int | None
) -> list[Entry]:
    return list(search_facts(conn, log, query, text=text, limit=limit))


def test_contents_are_searched_whatever_their_case(site: Connection, log: EventLog) -> None:
    entries = searched(site, log, HistoryQuery(), "ANNA'S", None)
    assert [(entry.position, entry.fact) for entry in entries] == [(61, {"label": "anna's"})]


def test_the_newest_are_given_oldest_first(site: Connection, log: EventLog) -> None:
    entries = searched(site, log, HistoryQuery(topic="weather."), "rain", 3)
    assert [entry.position for entry in entries] == [48, 53, 58]
    everything = searched(site, log, HistoryQuery(), None, None)
    assert [entry.position for entry in everything] == list(range(1, 63))


def test_facts_far_apart_are_read_one_by_one(site: Connection, log: EventLog) -> None:
    others = [envelope(jar(n), 1, JarOpened(label=f"jar {n}")) for n in range(910, 930)]
    write(log, [*others, envelope(jar(900), 2, JarClosed(label="anna's"), actor=ANNA)])
    catch_up(site, log)
    entries = searched(site, log, HistoryQuery(actor=ANNA), None, None)
    assert [(entry.position, entry.topic) for entry in entries] == [
        (61, "jar.opened.1"),
        (83, "jar.closed.1"),
    ]


def test_private_text_is_shown_until_its_key_is_destroyed(site: Connection, log: EventLog) -> None:
    subject = uuid4()
    write(log, [envelope(subject, 1, NoteLeft(text=Private(subject, "for Anna alone")))])
    catch_up(site, log)
    shown = searched(site, log, HistoryQuery(aggregate=subject), None, None)
    assert shown[0].fact == {"text": "for Anna alone"}
    log.vault_write(erasures=[VaultErasure(kind="subject_key", owner=subject, id="")])
    shown = searched(site, log, HistoryQuery(aggregate=subject), None, None)
    assert shown[0].fact == {"text": ERASED}
    assert searched(site, log, HistoryQuery(aggregate=subject), "alone", None) == []


def test_everything_about_a_thing_is_found(site: Connection, log: EventLog) -> None:
    table = UUID(int=1 << 90)
    moved = JarMoved(table=table, beside=jar(900), note_id=ANNA, before=(jar(8000), jar(8001)))
    write(log, [envelope(jar(902), 1, moved)])
    write(
        log, [envelope(jar(900), 2, JarMoved(table=table, beside=None, note_id=ANNA), actor=BERT)]
    )
    catch_up(site, log)
    assert found(site, HistoryQuery(about=table)) == [63, 64]
    assert found(site, HistoryQuery(about=jar(900))) == [61, 63, 64]
    assert found(site, HistoryQuery(about=jar(8001))) == [63]
    # Who acts is found; an id that only numbers a message is nothing to be about.
    assert found(site, HistoryQuery(about=BERT)) == [62, 64]
    assert found(site, HistoryQuery(about=ANNA)) == [61]
    assert found(site, HistoryQuery(about=table, actor=BERT)) == [64]
    latest = list_latest_facts(site, HistoryQuery(about=table), limit=1)
    assert [row.position for row in latest] == [64]
