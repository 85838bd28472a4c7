"""How torrents are found and sorted: tables beside `torrents`, kept by its fold and by counts.

`figures` has two writers of different columns: the fold of the log says what is shown where, and
whoever folds the peer ledger says how many peers there are. Either may come first, so both insert
what is missing, and the rows are the same in the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal
from uuid import UUID

from psycopg import sql
from psycopg.errors import LockNotAvailable

from domain.comments import CommentDeleted, CommentPosted
from domain.kernel import Recorded
from projections.accounting import SCHEMA as ACCOUNTING
from projections.engine import Connection, Cursor, is_installed, tuples
from projections.search_text import fold_text, short_tokens

LISTING_DDL: Final = """
CREATE TABLE figures (
    number bigint PRIMARY KEY,
    listed bigint NOT NULL,
    shown boolean NOT NULL,
    category uuid,
    comments bigint NOT NULL,
    seeders bigint NOT NULL,
    leechers bigint NOT NULL,
    completed bigint NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX ON figures (seeders, listed) WHERE shown;
CREATE INDEX ON figures (leechers, listed) WHERE shown;
CREATE INDEX ON figures (completed, listed) WHERE shown;
CREATE INDEX ON figures (comments, listed) WHERE shown;
CREATE INDEX ON figures (seeders, listed) WHERE NOT shown;
CREATE INDEX ON figures (leechers, listed) WHERE NOT shown;
CREATE INDEX ON figures (completed, listed) WHERE NOT shown;
CREATE INDEX ON figures (comments, listed) WHERE NOT shown;
CREATE INDEX ON figures (category, seeders, listed) WHERE shown;
CREATE TABLE tag_links (
    tag text COLLATE "C" NOT NULL,
    listed bigint NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (tag, listed, number)
);
CREATE INDEX ON tag_links (number);
CREATE TABLE search_names (
    number bigint PRIMARY KEY,
    listed bigint NOT NULL,
    shown boolean NOT NULL,
    category uuid,
    folded text COLLATE "C" NOT NULL,
    short text[] COLLATE "C" NOT NULL
);
CREATE INDEX ON search_names USING gin (folded gin_trgm_ops) WITH (fastupdate = off);
CREATE INDEX ON search_names USING gin (short) WITH (fastupdate = off);
CREATE INDEX ON search_names (listed) WHERE shown;
"""
# `figures` and `tag_links` hold what everybody sees: accepted, not withdrawn. Neither `figures`
# nor `search_names` is in the digest: peers are not in the log, and folding follows the Unicode
# tables of the Python used.
_FIGURES: Final = "torrents_4.figures"
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended({}, 4714))"
# Both writers take this lock first, as each writes many rows of the same table.
_ATTEMPTS: Final = 30


def comments_of(run: Sequence[Recorded]) -> Counter[UUID]:
    """How many comments each torrent gained; fewer than none when it lost some."""
    comments: Counter[UUID] = Counter()
    for recorded in run:
        match recorded.envelope.fact:
            case CommentPosted(torrent=torrent):
                comments[torrent] += 1
            case CommentDeleted(torrent=torrent):
                comments[torrent] -= 1
    return comments


def list_again(
    cursor: Cursor, *, new: Sequence[UUID], others: Sequence[UUID], names: Mapping[UUID, str]
) -> None:
    """Bring what lists are made from to what `torrents` says of these torrents now.

    `names` are those that are new or may be others than before.
    """
    touched = [*new, *others]
    _write_names(cursor, names)
    _show_names(cursor, [torrent for torrent in others if torrent not in names])
    _lock_figures(cursor)
    cursor.execute(
        """
        INSERT INTO figures AS f (
            number, listed, shown, category, comments, seeders, leechers, completed
        )
        SELECT t.number, t.listed, t.status = 'accepted' AND NOT t.withdrawn, t.category,
               0, 0, 0, 0
        FROM torrents t
        WHERE t.id = ANY(%s::uuid[])
        ON CONFLICT (number) DO UPDATE SET
            listed = excluded.listed, shown = excluded.shown, category = excluded.category
        """,
        [touched],
    )
    if others:
        cursor.execute(
            """
            DELETE FROM tag_links WHERE number = ANY(ARRAY(
                SELECT number FROM torrents WHERE id = ANY(%s::uuid[])
            ))
            """,
            [list(others)],
        )
    cursor.execute(
        """
        INSERT INTO tag_links (tag, listed, number)
        SELECT DISTINCT tag, listed, number FROM torrents, unnest(tag_slugs) AS tag
        WHERE id = ANY(%s::uuid[]) AND status = 'accepted' AND NOT withdrawn
        """,
        [touched],
    )


def count_comments(cursor: Cursor, comments: Mapping[UUID, int]) -> None:
    """Add so many comments to the figures of each torrent."""
    changes = {torrent: more for torrent, more in comments.items() if more}
    if not changes:
        return
    _lock_figures(cursor)
    cursor.execute(
        """
        UPDATE figures f SET comments = f.comments + c.more
        FROM unnest(%b::uuid[], %b::bigint[]) AS c (torrent, more)
        JOIN torrents t ON t.id = c.torrent
        WHERE f.number = t.number
        """,
        [list(changes), list(changes.values())],
    )


def _lock_figures(cursor: Cursor) -> None:
    cursor.execute(_LOCK.format("current_schema() || '.figures'").encode())


def _write_names(cursor: Cursor, names: Mapping[UUID, str]) -> None:
    if not names:
        return
    folded = [fold_text(name) for name in names.values()]
    cursor.execute(
        """
        INSERT INTO search_names (number, listed, shown, category, folded, short)
        SELECT t.number, t.listed, t.status = 'accepted' AND NOT t.withdrawn, t.category,
               n.folded, string_to_array(n.short, ' ')
        FROM unnest(%b::uuid[], %b::text[], %b::text[]) AS n (torrent, folded, short)
        JOIN torrents t ON t.id = n.torrent
        ON CONFLICT (number) DO UPDATE SET
            listed = excluded.listed, shown = excluded.shown, category = excluded.category,
            folded = excluded.folded, short = excluded.short
        """,
        # Tokens are parts of words, so there is no space in any of them.
        [list(names), folded, [" ".join(short_tokens(text)) for text in folded]],
    )


def _show_names(cursor: Cursor, torrents: Sequence[UUID]) -> None:
    """Let searches find these where lists show them; what they are called has not changed."""
    if not torrents:
        return
    cursor.execute(
        """
        UPDATE search_names s SET listed = t.listed, shown = t.shown, category = t.category
        FROM (
            SELECT number, listed, status = 'accepted' AND NOT withdrawn AS shown, category
            FROM torrents WHERE id = ANY(%s::uuid[])
        ) t
        WHERE s.number = t.number
          AND (s.listed, s.shown, s.category) IS DISTINCT FROM (t.listed, t.shown, t.category)
        """,
        [list(torrents)],
    )


def write_names_later(conn: Connection, schema: str) -> None:
    """Let what is written to the indexes of names wait there: many names go in in a tenth the time.

    Searches look through what waits, so this is for while read models are far behind. Nothing
    changes while readers never let go of the indexes.
    """
    with suppress(LockNotAvailable):
        _collect(conn, schema, "on")


def write_names_at_once(conn: Connection, schema: str) -> None:
    """End `write_names_later`, and bring to its place what waits."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            for index in _collect(conn, schema, "off"):
                conn.execute("SELECT gin_clean_pending_list(%s::regclass)", [index])
        except LockNotAvailable:
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def _collect(conn: Connection, schema: str, mode: Literal["on", "off"]) -> list[str]:
    """Change the indexes of names to this `fastupdate`; gives those that were changed."""
    wanted = f"fastupdate={mode}"
    rows = (
        tuples(conn)
        .execute(
            """
            SELECT i.indexrelid::regclass::text
            FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            JOIN pg_am a ON a.oid = c.relam
            WHERE i.indrelid = to_regclass(%s) AND a.amname = 'gin'
              AND NOT coalesce(c.reloptions, '{}') @> ARRAY[%s]
            """,
            [f"{schema}.search_names", wanted],
        )
        .fetchall()
    )
    indexes = [str(row[0]) for row in rows]
    for index in indexes:
        with conn.transaction():
            conn.execute("SET LOCAL lock_timeout = '2s'")
            conn.execute(
                sql.SQL("ALTER INDEX {} SET (fastupdate = {})").format(
                    sql.Identifier(*index.split(".")), sql.SQL(mode)
                )
            )
    return indexes


def write_counts(cursor: Cursor, *, live: Mapping[str, Any], totals: Mapping[str, Any]) -> None:
    """Take over counts as absolute values, in the transaction that writes them to accounting.

    `live` has columns of bigint named number, seeders and leechers, `totals` number and
    completed; either may be empty.
    """
    if not (live or totals) or not _is_there(cursor):
        return
    cursor.execute(_LOCK.format(f"'{_FIGURES}'").encode())
    if live:
        cursor.execute(_LIVE.encode(), live)
    if totals:
        cursor.execute(_TOTALS.encode(), totals)


_LIVE: Final = f"""
INSERT INTO {_FIGURES} (number, listed, shown, comments, seeders, leechers, completed)
SELECT number, 0, false, 0, seeders, leechers, 0
FROM unnest(%(number)b, %(seeders)b, %(leechers)b) AS l (number, seeders, leechers)
ON CONFLICT (number) DO UPDATE SET seeders = excluded.seeders, leechers = excluded.leechers
"""
_TOTALS: Final = f"""
INSERT INTO {_FIGURES} AS f (number, listed, shown, comments, seeders, leechers, completed)
SELECT number, 0, false, 0, 0, 0, completed FROM unnest(%(number)b, %(completed)b)
    AS t (number, completed)
ON CONFLICT (number) DO UPDATE SET completed = excluded.completed
    WHERE f.completed <> excluded.completed
"""


def _is_there(cursor: Cursor) -> bool:
    row = cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [_FIGURES]).fetchone()
    return row is not None and bool(row[0])


def fill_counts(conn: Connection, schema: str = "torrents_4", *, last: bool = False) -> int:
    """Take every count that differs from what accounting says; gives how many did.

    For a read model made anew, and for a start: what was written in between is then there too.
    With `last` no count is written elsewhere until the caller's transaction ends.
    """
    cursor = tuples(conn)
    if not is_installed(conn, ACCOUNTING) or not is_installed(conn, schema):
        return 0
    with conn.transaction():
        for name in sorted({f"{schema}.figures", *([_FIGURES] if last else ())}):
            cursor.execute(_LOCK.format(f"'{name}'").encode())
        return cursor.execute(
            sql.SQL(
                """
                INSERT INTO {figures} (
                    number, listed, shown, comments, seeders, leechers, completed
                )
                SELECT number, 0, false, 0, coalesce(l.seeders, 0), coalesce(l.leechers, 0),
                       coalesce(c.snatches, 0)
                FROM (
                    SELECT torrent AS number FROM {live} UNION SELECT torrent FROM {totals}
                ) n
                LEFT JOIN {live} l ON l.torrent = number
                LEFT JOIN {totals} c ON c.torrent = number
                LEFT JOIN {figures} f USING (number)
                WHERE (f.seeders, f.leechers, f.completed) IS DISTINCT FROM (
                    coalesce(l.seeders, 0), coalesce(l.leechers, 0), coalesce(c.snatches, 0)
                )
                ON CONFLICT (number) DO UPDATE SET seeders = excluded.seeders,
                    leechers = excluded.leechers, completed = excluded.completed
                """
            ).format(
                figures=sql.Identifier(schema, "figures"),
                live=sql.Identifier(ACCOUNTING, "torrent_live"),
                totals=sql.Identifier(ACCOUNTING, "torrent_totals"),
            )
        ).rowcount
