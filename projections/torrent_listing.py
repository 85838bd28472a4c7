"""How torrents are found and sorted: tables beside `torrents`, kept by its fold and by counts.

`figures` has two writers of different columns: the fold of the log says what is shown where, and
whoever folds the peer ledger says how many peers there are. Either may come first, so both insert
what is missing, and the rows are the same in the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from psycopg import sql

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
    folded text COLLATE "C" NOT NULL,
    short text[] COLLATE "C" NOT NULL
);
CREATE INDEX ON search_names USING gin (folded gin_trgm_ops) WITH (fastupdate = off);
CREATE INDEX ON search_names USING gin (short) WITH (fastupdate = off);
"""
# `figures` and `tag_links` hold what everybody sees: accepted, not withdrawn. Neither `figures`
# nor `search_names` is in the digest: peers are not in the log, and folding follows the Unicode
# tables of the Python used.
_FIGURES: Final = "torrents_3.figures"
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended({}, 4714))"
# Both writers take this lock first, as each writes many rows of the same table.


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
    cursor: Cursor,
    touched: Sequence[UUID],
    *,
    names: Mapping[UUID, str],
    comments: Mapping[UUID, int],
) -> None:
    """Bring what lists are made from to what `torrents` says of these torrents now.

    `names` are those that are new, `comments` how many more there are of each.
    """
    _write_names(cursor, names)
    cursor.execute(_LOCK.format("current_schema() || '.figures'").encode())
    cursor.execute(
        """
        INSERT INTO figures AS f (
            number, listed, shown, category, comments, seeders, leechers, completed
        )
        SELECT t.number, t.listed, t.status = 'accepted' AND NOT t.withdrawn, t.category,
               coalesce(c.more, 0), 0, 0, 0
        FROM torrents t
        LEFT JOIN unnest(%(commented)s::uuid[], %(more)s::bigint[]) AS c (torrent, more)
            ON c.torrent = t.id
        WHERE t.id = ANY(%(touched)s::uuid[])
        ON CONFLICT (number) DO UPDATE SET
            listed = excluded.listed, shown = excluded.shown, category = excluded.category,
            comments = f.comments + excluded.comments
        """,
        {
            "touched": list(touched),
            "commented": list(comments),
            "more": list(comments.values()),
        },
    )
    cursor.execute(
        """
        DELETE FROM tag_links WHERE number = ANY(ARRAY(
            SELECT number FROM torrents WHERE id = ANY(%s::uuid[])
        ))
        """,
        [list(touched)],
    )
    cursor.execute(
        """
        INSERT INTO tag_links (tag, listed, number)
        SELECT DISTINCT tag, listed, number FROM torrents, unnest(tag_slugs) AS tag
        WHERE id = ANY(%s::uuid[]) AND status = 'accepted' AND NOT withdrawn
        """,
        [list(touched)],
    )


def _write_names(cursor: Cursor, names: Mapping[UUID, str]) -> None:
    rows: list[tuple[Any, ...]] = []
    for torrent, name in names.items():
        folded = fold_text(name)
        rows.append((folded, short_tokens(folded), torrent))
    cursor.executemany(
        """
        INSERT INTO search_names (number, folded, short)
        SELECT number, %s, %s::text[] FROM torrents WHERE id = %s
        ON CONFLICT (number) DO UPDATE SET folded = excluded.folded, short = excluded.short
        """,
        rows,
    )


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


def fill_counts(conn: Connection, schema: str = "torrents_3", *, last: bool = False) -> int:
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
