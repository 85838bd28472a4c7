"""What lists sort by: counts from the ledger and comments from the log meet in one table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from uuid import uuid4

import psycopg
import pytest

from application.ports import Writes
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from domain.comments import CommentDeleted, CommentPosted
from domain.kernel import Envelope, Fact, Meta, Private
from projections import accounting, catch_up, engine
from projections.engine import Connection
from projections.rebuild import rebuild
from projections.search_text import short_tokens
from projections.torrent_listing import fill_counts
from projections.torrent_search import terms_of
from projections.torrents import TorrentsProjection
from tests.projections.catalogue_story import START, Story, named

FIGURES = "SELECT number, comments, seeders, leechers, completed FROM torrents_4.figures ORDER BY 1"


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    opened = EventLog(app_url, Keyring.generate(), registry())
    yield opened
    opened.close()


def tell(log: EventLog) -> None:
    """Two torrents; three comments below the first, of which one is deleted."""
    story = Story().tell(0)
    torrent = story.upload()
    story.upload()
    for envelope in story.envelopes:
        log.append(Writes(command_id=uuid4(), envelopes=(envelope,)))
    author = named(1, 1)

    def say(comment: int, version: int, fact: Fact) -> None:
        meta = Meta(
            at=START + timedelta(days=1), actor=author, command=uuid4(), correlation=uuid4()
        )
        envelope = Envelope(
            originator_id=named(7, comment), originator_version=version, meta=meta, fact=fact
        )
        log.append(Writes(command_id=uuid4(), envelopes=(envelope,)))

    for comment in (1, 2, 3):
        posted = CommentPosted(torrent=torrent, author=author, content=Private(author, "Good."))
        say(comment, 1, posted)
    say(2, 2, CommentDeleted(torrent=torrent, author=author, deleted_by=author))


def test_counts_are_the_same_whichever_came_first_and_outlive_a_rebuild(
    conn: Connection, log: EventLog
) -> None:
    tell(log)
    projection = TorrentsProjection()
    accounting.install(conn)
    conn.execute("INSERT INTO accounting_1.torrent_live VALUES (1, 5, 2)")
    conn.execute("INSERT INTO accounting_1.torrent_totals VALUES (2, 0, 0, 0, 0, 0, 9)")
    expected = [(1, 2, 5, 2, 0), (2, 0, 0, 0, 9)]
    for limit in (1, 500):
        for counts_first in (True, False):
            engine.drop(conn, "torrents_4")
            engine.install(conn, projection)
            if counts_first:
                assert fill_counts(conn) == len(expected)
            while isinstance(engine.step(conn, log, projection, limit=limit), int):
                pass
            assert fill_counts(conn) == (0 if counts_first else len(expected))
            assert conn.execute(FIGURES).fetchall() == expected
    rebuild(conn, log, projection)
    assert conn.execute(FIGURES).fetchall() == expected


@pytest.mark.parametrize(
    ("folded", "tokens"),
    [
        ("tv special 8", ["8", "tv"]),
        ("東京物語 1953", ["京", "京物", "東", "東京", "物", "物語", "語"]),
        ("я и ты", ["и", "ты", "я"]),
        ("", []),
    ],
)
def test_short_words_and_signs_have_tokens_of_their_own(folded: str, tokens: list[str]) -> None:
    assert short_tokens(folded) == tokens


@pytest.mark.parametrize(
    ("search", "terms"),
    [
        ('"Big Night" 1999', ["big night", "1999"]),
        ('Big "night', ["big", "night"]),
        ("a.b.c", ["a", "b", "c"]),
        ("京a", ["京", "a"]),
        ('%_"', []),
        (" ".join(f"word{number}" for number in range(12)), [f"word{n}" for n in range(8)]),
    ],
)
def test_a_search_is_cut_into_terms(search: str, terms: list[str]) -> None:
    assert terms_of(search) == terms


def test_indexes_of_names_collect_only_while_the_read_model_is_far_behind(
    conn: Connection, log: EventLog, app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(log)
    engine.install(conn, TorrentsProjection())
    seen: list[list[bool]] = []

    def run() -> None:
        catch_up.catch_up(
            partial(psycopg.connect, app_url, autocommit=True),
            log,
            (TorrentsProjection(),),
            report=lambda *_: seen.append(collecting(conn)),
            limit=10,
        )

    run()
    assert seen
    assert set(map(tuple, seen)) == {(False, False)}, "it was not far behind"
    engine.drop(conn, "torrents_4")
    engine.install(conn, TorrentsProjection())
    seen.clear()
    monkeypatch.setattr(catch_up, "MANY", 1)
    run()
    assert set(map(tuple, seen)) == {(True, True)}
    assert collecting(conn) == [False, False]
    # What one that was killed left behind.
    TorrentsProjection().expect_many(conn, "torrents_4")
    assert collecting(conn) == [True, True]
    run()
    assert collecting(conn) == [False, False]


def test_who_reads_names_all_the_time_only_makes_the_fold_slower(
    conn: Connection, app_url: str
) -> None:
    engine.install(conn, TorrentsProjection())
    with psycopg.connect(app_url) as reader:
        reader.execute("SELECT count(*) FROM torrents_4.search_names")
        TorrentsProjection().expect_many(conn, "torrents_4")
        assert collecting(conn) == [False, False]


def collecting(conn: Connection) -> list[bool]:
    """Whether each index for searching lets new names wait."""
    rows = conn.execute(
        """
        SELECT NOT c.reloptions @> '{fastupdate=off}' FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
        WHERE i.indrelid = 'torrents_4.search_names'::regclass AND a.amname = 'gin'
        """
    ).fetchall()
    return [bool(row[0]) for row in rows]
