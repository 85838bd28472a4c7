"""Catalogue, moderation, taxonomy, access and counters: the rows depend on the facts alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from psycopg import sql

from application.ports import Writes
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from domain import moderation
from domain.kernel import Private
from domain.taxonomy import slugify
from projections import accounting, engine
from projections.access import AccessProjection
from projections.cross_seeds import CrossSeedsProjection
from projections.digest import digest_tables
from projections.engine import Connection, Projection, schema_of
from projections.favorites import FavoritesProjection
from projections.moderation import ModerationProjection, list_moderation_messages
from projections.rebuild import rebuild
from projections.search_text import fold_text
from projections.stats import StatsProjection, find_site_counters
from projections.tags import TagsProjection, list_tags
from projections.taxonomy import TaxonomyProjection
from projections.torrent_browse import Browse, Viewer
from projections.torrent_lists import (
    count_torrents,
    list_pending_torrents,
    list_torrents,
)
from projections.torrent_pages import find_torrent, find_torrent_by_id
from projections.torrents import TorrentsProjection
from projections.users import UsersProjection
from tests.projections.catalogue_story import Story

PROJECTIONS: tuple[Projection, ...] = (
    TaxonomyProjection(),
    TagsProjection(),
    TorrentsProjection(),
    CrossSeedsProjection(),
    ModerationProjection(),
    AccessProjection(),
    StatsProjection(),
)


@pytest.fixture
def site(app_url: str) -> Iterator[EventLog]:
    """The real log with every fact of ours."""
    opened = EventLog(app_url, Keyring.generate(), registry())
    yield opened
    opened.close()


def write(log: EventLog, story: Story) -> None:
    for envelope in story.envelopes:
        log.append(Writes(command_id=uuid4(), envelopes=(envelope,)))


def catch_up(conn: Connection, log: EventLog, projection: Projection, limit: int = 500) -> None:
    while isinstance(engine.step(conn, log, projection, limit=limit), int):
        pass


def rows(conn: Connection, projection: Projection) -> dict[str, list[Any]]:
    """Every row of every table, also of those outside the digest."""
    schema = schema_of(projection)
    tables = conn.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename <> 'position'",
        [schema],
    ).fetchall()
    return {
        table: conn.execute(
            sql.SQL("SELECT to_jsonb(t)::text FROM {}.{} t ORDER BY 1").format(
                sql.Identifier(schema), sql.Identifier(table)
            )
        ).fetchall()
        for (table,) in tables
    }


@pytest.mark.parametrize("projection", PROJECTIONS, ids=schema_of)
def test_a_rebuild_equals_what_was_folded_in_any_batches(
    conn: Connection, site: EventLog, projection: Projection
) -> None:
    write(site, Story(7).tell(120))
    expected: dict[str, list[Any]] | None = None
    for limit in (1, 3, 17, 500):
        engine.drop(conn, schema_of(projection))
        engine.install(conn, projection)
        catch_up(conn, site, projection, limit)
        folded = rows(conn, projection)
        assert expected is None or folded == expected, limit
        expected = folded
    assert expected is not None
    assert expected["poison"] == []
    assert sum(map(len, expected.values())) >= 3
    before = digest_tables(conn, projection, schema_of(projection))
    rebuild(conn, site, projection)
    assert rows(conn, projection) == expected
    assert digest_tables(conn, projection, schema_of(projection)) == before


@pytest.mark.parametrize("projection", PROJECTIONS, ids=schema_of)
def test_stepping_again_changes_nothing(
    conn: Connection, site: EventLog, projection: Projection
) -> None:
    write(site, Story(3).tell(30))
    engine.install(conn, projection)
    catch_up(conn, site, projection)
    once = rows(conn, projection)
    assert engine.step(conn, site, projection) is engine.IDLE
    assert rows(conn, projection) == once


def test_tags_are_counted_and_bound_alike_in_both_read_models(
    conn: Connection, site: EventLog
) -> None:
    write(site, Story(5).tell(200))
    for projection in (TagsProjection(), TorrentsProjection()):
        engine.install(conn, projection)
        catch_up(conn, site, projection, 13)
    bound = conn.execute("SELECT id, tags FROM tags_1.torrents ORDER BY id").fetchall()
    shown = conn.execute("SELECT id, tags, tag_slugs FROM torrents_4.torrents ORDER BY id")
    assert bound == [
        (torrent, slugs)
        for torrent, names, slugs in shown.fetchall()
        if [slugify(name) for name in names] == slugs
    ]
    counted = conn.execute(
        """
        SELECT t.slug, count(b.id) FROM tags_1.tags t
        LEFT JOIN tags_1.torrents b
            ON b.tags @> ARRAY[t.slug] AND b.status = 'accepted' AND NOT b.withdrawn
        GROUP BY t.slug ORDER BY t.slug
        """
    ).fetchall()
    assert [(row.slug, row.torrents) for row in list_tags(conn)] == counted
    assert sum(count for _, count in counted) > 0
    assert any(not slugs for _, slugs in bound)


def test_counters_say_what_counting_would(conn: Connection, site: EventLog) -> None:
    write(site, Story(11).tell(150))
    for projection in (*PROJECTIONS, UsersProjection()):
        engine.install(conn, projection)
        catch_up(conn, site, projection, 13)
    counted = conn.execute(
        "SELECT coalesce(category, '00000000-0000-0000-0000-000000000000'), status, count(*)"
        " FROM torrents_4.torrents WHERE NOT withdrawn GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    kept = conn.execute(
        "SELECT category, status, torrents FROM torrents_4.counts ORDER BY 1, 2"
    ).fetchall()
    assert kept == counted
    accepted = conn.execute(
        "SELECT count(*), coalesce(sum(size), 0)::bigint FROM torrents_4.torrents"
        " WHERE status = 'accepted' AND NOT withdrawn"
    ).fetchone()
    counters = find_site_counters(conn)
    assert (counters.torrents, counters.bytes) == accepted
    assert counters.users == 4
    total = conn.execute("SELECT count(*) FROM torrents_4.torrents").fetchone()
    assert total == (counters.uploads,)


def test_a_withdrawn_torrent_is_in_no_list_and_has_no_page(
    conn: Connection, site: EventLog
) -> None:
    write(site, Story(13).tell(150))
    accounting.install(conn)
    for projection in (*PROJECTIONS, FavoritesProjection(), UsersProjection()):
        engine.install(conn, projection)
        catch_up(conn, site, projection)
    torrents = conn.execute(
        "SELECT id, info_hash, withdrawn, status FROM torrents_4.torrents"
    ).fetchall()
    there = {row[0] for row in torrents if not row[2]}
    again = {row[1] for row in torrents if row[2]} & {row[1] for row in torrents if not row[2]}
    assert again, "the story has a withdrawn torrent that was uploaded again"
    browse = Browse(viewer=Viewer(is_staff=True), limit=1000)
    assert {row.id for row in list_torrents(conn, browse)} == there
    assert count_torrents(conn, browse).count == len(there)
    queue = list_pending_torrents(conn, status=None, limit=1000, offset=0)
    assert {row.id for row in queue} == {
        row[0] for row in torrents if not row[2] and row[3] != "accepted"
    }
    for torrent, info_hash, withdrawn, _ in torrents:
        found = find_torrent(conn, info_hash)
        assert found is None or found.id in there
        assert (found is not None and found.id == torrent) is not withdrawn
        assert (find_torrent_by_id(conn, torrent) is None) is withdrawn


def test_access_follows_moderation_and_withdrawal(conn: Connection, site: EventLog) -> None:
    write(site, Story(5).tell(150))
    for projection in (TorrentsProjection(), AccessProjection()):
        engine.install(conn, projection)
        catch_up(conn, site, projection)
    wrong = conn.execute(
        """
        SELECT t.number FROM torrents_4.torrents t JOIN access_3.torrents a USING (id)
        WHERE a.state <> CASE WHEN t.withdrawn OR t.status = 'rejected' THEN 3
                              WHEN t.status = 'accepted' THEN 1 ELSE 2 END
           OR encode(a.canonical, 'hex') <> t.info_hash
           OR encode(a.alias, 'hex') <> coalesce(left(t.info_hash_v2, 40), repeat('0', 40))
        """
    ).fetchall()
    assert wrong == []
    states = conn.execute("SELECT DISTINCT state FROM access_3.torrents ORDER BY 1").fetchall()
    assert states == [(1,), (2,), (3,)]
    seq = conn.execute("SELECT max(seq) FROM access_3.torrents").fetchone()
    assert seq is not None
    assert seq[0] <= site.head()


@pytest.mark.parametrize(("words", "body"), [(None, None), ("a\0b", "a\ufffdb")])
def test_words_read_as_they_may_be_read_now(
    conn: Connection, site: EventLog, words: str | None, body: str | None
) -> None:
    """Destroyed words are none; words no database text can hold never stop the fold."""
    story = Story().tell(0)
    torrent = story.upload()
    write(site, story)
    for projection in (ModerationProjection(), UsersProjection()):
        engine.install(conn, projection)
        catch_up(conn, site, projection)
    facts = site.read(0, 1000)[0]
    fold = ModerationProjection().fold
    thread = next(r for r in facts if isinstance(r.envelope.fact, moderation.ModerationOpened))
    posted = moderation.ModerationMessagePosted(
        torrent=torrent, author=uuid4(), message_id=uuid4(), message=Private(uuid4(), words)
    )

    envelope = msgspec.structs.replace(thread.envelope, fact=posted)
    with conn.transaction():
        cursor = engine.tuples(conn)
        engine.use_schema(cursor, "moderation_4")
        fold(cursor, [msgspec.structs.replace(thread, envelope=envelope)])
    (message,) = list_moderation_messages(conn, torrent)
    assert message.body == body
    assert message.is_system is False


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Amélie.2001.1080p", "amelie 2001 1080p"),
        ("AME\u0301LIE", "amelie"),
        ("Björk", "bjork"),
        ("йод", "йод"),
        ("東京", "東京"),
        ("が", "が"),
        ("STRASSE straße", "strasse strasse"),
        ("100%_'\"\\", "100"),
        ("", ""),
    ],
)
def test_names_are_folded_for_search(text: str, folded: str) -> None:
    assert fold_text(text) == folded
    assert fold_text(folded) == folded
