"""The obvious SQL for what the catalogue answers: what someone writes who has no bench to read.

It gives the same answer as the request: the page with what is shown beside each row, how many
there are in all, what this member may see of it. The tables are those the requests read, with
their indexes, but for counters and search columns, which are the work of a second thought.
"""

from __future__ import annotations

from typing import Final

from projections.accounting import SCHEMA as ACCOUNTING
from projections.engine import schema_of
from projections.registry import ALL

_SCHEMAS = {projection.name: schema_of(projection) for projection in ALL}
_SCHEMAS["accounting"] = ACCOUNTING

_COLUMNS: Final = """
SELECT t.id, t.info_hash, t.info_hash_v2, t.name, t.size, t.file_count, t.category,
       k.name AS category_name, k.slug, k.type, t.uploader, u.username, t.status, t.created_at,
       t.moderator, m.username AS moderator_name, t.moderated_at, t.imdb, t.tmdb, t.tvdb, t.igdb,
       t.openlibrary, t.tags, coalesce(l.seeders, 0) AS seeders,
       coalesce(l.leechers, 0) AS leechers, coalesce(c.snatches, 0) AS completed,
       (SELECT count(*) FROM {comments}.comments n WHERE n.torrent = t.id) AS comments,
       EXISTS (SELECT FROM {favorites}.favorites v WHERE v.member = %(me)s AND v.torrent = t.id)
"""
_JOINED: Final = """
LEFT JOIN {users}.accounts u ON u.id = t.uploader
LEFT JOIN {users}.accounts m ON m.id = t.moderator
LEFT JOIN {accounting}.torrent_live l ON l.torrent = t.number
LEFT JOIN {accounting}.torrent_totals c ON c.torrent = t.number
LEFT JOIN {taxonomy}.categories k ON k.id = t.category
LEFT JOIN {taxonomy}.categories r ON r.id = k.parent
"""
_SEEN: Final = """
WHERE NOT t.withdrawn AND (t.status = 'accepted' OR t.uploader = %(me)s)
  AND (NOT coalesce(k.is_adult OR r.is_adult, false) OR EXISTS (
      SELECT FROM {profiles}.profiles p WHERE p.account = %(me)s AND p.show_adult_content))
"""
_LISTED: Final = """
FROM {torrents}.torrents t
LEFT JOIN {taxonomy}.categories k ON k.id = t.category
LEFT JOIN {taxonomy}.categories r ON r.id = k.parent
"""
_PAGE: Final = """
SELECT json_build_object(
    'id', t.id, 'infoHash', t.info_hash, 'infoHashV2', t.info_hash_v2, 'name', t.name,
    'size', t.size, 'fileCount', t.file_count, 'description', d.description,
    'pieceLength', t.piece_length, 'moderationStatus', t.status, 'createdAt', t.created_at,
    'moderatedAt', t.moderated_at, 'imdbId', t.imdb, 'tmdbId', t.tmdb, 'tvdbId', t.tvdb,
    'igdbId', t.igdb, 'openlibraryId', t.openlibrary, 'fileRef', t.file_ref, 'nfoRef', t.nfo_ref,
    'category', CASE WHEN k.id IS NOT NULL THEN json_build_object(
        'id', k.id, 'name', k.name, 'slug', k.slug, 'type', k.type) END,
    'uploader', json_build_object('id', t.uploader, 'username', u.username),
    'moderatedBy', CASE WHEN t.moderator IS NOT NULL THEN json_build_object(
        'id', t.moderator, 'username', m.username) END,
    'tags', (SELECT json_agg(json_build_object('name', w.name, 'slug', w.slug))
             FROM unnest(t.tags, t.tag_slugs) AS w (name, slug)),
    'stats', json_build_object(
        'seeders', coalesce(l.seeders, 0), 'leechers', coalesce(l.leechers, 0),
        'completed', coalesce(c.snatches, 0)),
    'commentCount', (SELECT count(*) FROM {comments}.comments n WHERE n.torrent = t.id),
    'viewerFavorited', EXISTS (
        SELECT FROM {favorites}.favorites v WHERE v.member = %(me)s AND v.torrent = t.id),
    'comments', (
        SELECT json_agg(json_build_object(
            'id', n.id, 'torrentId', n.torrent, 'authorId', n.author,
            'author', json_build_object('id', n.author, 'username', n.username),
            'content', n.content, 'createdAt', n.created_at, 'updatedAt', n.created_at))
        FROM (SELECT n.*, a.username FROM {comments}.comments n
              LEFT JOIN {users}.accounts a ON a.id = n.author
              WHERE n.torrent = t.id ORDER BY n.id DESC LIMIT 20) n))
FROM {torrents}.torrents t JOIN {torrents}.descriptions d ON d.torrent = t.id
"""
_PROFILE: Final = """
SELECT a.id, a.username, a.created_at, a.uploads, a.starter_upload, t.uploaded, t.downloaded,
       p.display_name, p.bio, p.show_last_seen,
       (SELECT count(*) FROM {follows}.follows f WHERE f.member = a.id)
FROM {users}.accounts a
LEFT JOIN {profiles}.profiles p ON p.account = a.id
LEFT JOIN {accounting}.member_totals t ON t.account = a.number
WHERE lower(a.username) = lower(%(name)s)
"""
ORDERS: Final = {
    "recent": "t.listed DESC",
    "name": "t.name DESC, t.listed DESC",
    "size": "t.size DESC, t.listed DESC",
    "seeders": "coalesce(l.seeders, 0) DESC, t.listed DESC",
    "leechers": "coalesce(l.leechers, 0) DESC, t.listed DESC",
    "completed": "coalesce(c.snatches, 0) DESC, t.listed DESC",
}
IN_CATEGORY: Final = """
AND t.category IN (
    SELECT id FROM {taxonomy}.categories WHERE slug = %(slug)s
    UNION ALL
    SELECT b.id FROM {taxonomy}.categories b JOIN {taxonomy}.categories a ON a.id = b.parent
    WHERE a.slug = %(slug)s)
"""


def statement(template: str) -> str:
    """The statement with the schemas of this version."""
    for name, schema in _SCHEMAS.items():
        template = template.replace("{" + name + "}", schema)
    return template


def listing(where: str, order: str) -> tuple[str, str]:
    """A page of the catalogue and how many there are; `where` begins with AND or is empty."""
    rows = (
        f"{_COLUMNS} FROM {{torrents}}.torrents t {_JOINED} {_SEEN} {where}"
        f" ORDER BY {ORDERS[order]} LIMIT 20 OFFSET %(offset)s"
    )
    return statement(rows), statement(f"SELECT count(*) {_LISTED} {_SEEN} {where}")


def favorites(order: str) -> tuple[str, str]:
    """The first page of a member's favourites and how many there are."""
    own = "JOIN {favorites}.favorites f ON f.torrent = t.id AND f.member = %(me)s"
    by = "f.listed DESC" if order == "recent" else ORDERS[order]
    rows = (
        f"{_COLUMNS}, f.favorited_at FROM {{torrents}}.torrents t {own} {_JOINED} {_SEEN}"
        f" ORDER BY {by} LIMIT 24"
    )
    return statement(rows), statement(f"SELECT count(*) {_LISTED} {own} {_SEEN}")


def page() -> tuple[str, ...]:
    """A torrent's page with its newest comments, as one JSON document."""
    return (statement(f"{_PAGE} {_JOINED} {_SEEN} AND t.info_hash = %(hash)s"),)


def profile() -> tuple[str, ...]:
    """A member's profile."""
    return (statement(_PROFILE),)
