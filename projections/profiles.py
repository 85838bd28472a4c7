"""Profiles as pages show them, and when members last signed in: tables, fold and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.kernel import Recorded
from domain.profiles import ProfileEdited
from domain.sessions import SessionOpened
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE profiles (
    account uuid PRIMARY KEY,
    display_name text COLLATE "C",
    bio text COLLATE "C",
    show_last_seen boolean NOT NULL,
    show_adult_content boolean NOT NULL,
    theme text COLLATE "C" NOT NULL,
    language text COLLATE "C" NOT NULL
);
CREATE TABLE sign_ins (
    account uuid PRIMARY KEY,
    last_at timestamptz NOT NULL
);
"""
# A replay after a member's key was destroyed finds no words (`Private.text` is None); the fact
# that records the destruction blanks the live row.


class ProfileRow(msgspec.Struct, frozen=True, kw_only=True):
    """A member's profile; `last_sign_in` is None when he never signed in."""

    display_name: str | None
    bio: str | None
    show_last_seen: bool
    show_adult_content: bool
    theme: str
    language: str
    last_sign_in: datetime | None


class ProfilesProjection:
    """Each member's profile as he last left it, and his last sign-in."""

    name = "profiles"
    version = 1
    topics: frozenset[str] | None = frozenset({ProfileEdited.TOPIC, SessionOpened.TOPIC})
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {"profiles": ("account",), "sign_ins": ("account",)}

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        _profiles_edited(cursor, batch)
        _sessions_opened(cursor, batch)


def _profiles_edited(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    last = {
        fact.account: (
            fact.account,
            fact.display_name.text if fact.display_name else None,
            fact.bio.text if fact.bio else None,
            fact.show_last_seen,
            fact.show_adult_content,
            fact.theme,
            fact.language,
        )
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, ProfileEdited)
    }
    if last:
        cursor.execute(
            """
            INSERT INTO profiles (account, display_name, bio, show_last_seen, show_adult_content,
                theme, language)
            SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::boolean[], %s::boolean[],
                %s::text[], %s::text[])
            ON CONFLICT (account) DO UPDATE SET display_name = excluded.display_name,
                bio = excluded.bio, show_last_seen = excluded.show_last_seen,
                show_adult_content = excluded.show_adult_content, theme = excluded.theme,
                language = excluded.language
            """,
            [list(column) for column in zip(*last.values(), strict=True)],
        )


def _sessions_opened(cursor: Cursor, batch: Sequence[Recorded]) -> None:
    last = {
        fact.account: recorded.envelope.meta.at
        for recorded in batch
        if isinstance(fact := recorded.envelope.fact, SessionOpened)
    }
    if last:
        cursor.execute(
            """
            INSERT INTO sign_ins (account, last_at)
            SELECT * FROM unnest(%s::uuid[], %s::timestamptz[])
            ON CONFLICT (account) DO UPDATE SET last_at = excluded.last_at
            """,
            [list(last), list(last.values())],
        )


def find_profile(conn: Connection, account: UUID) -> ProfileRow:
    """The profile of a member; defaults for one who never edited his."""
    with conn.cursor(row_factory=class_row(ProfileRow)) as cursor:
        row = cursor.execute(
            """
            SELECT p.display_name, p.bio, coalesce(p.show_last_seen, true) AS show_last_seen,
                coalesce(p.show_adult_content, false) AS show_adult_content,
                coalesce(p.theme, 'dark') AS theme, coalesce(p.language, 'en') AS language,
                s.last_at AS last_sign_in
            FROM (SELECT %s::uuid AS account) AS asked
            LEFT JOIN profiles_1.profiles p USING (account)
            LEFT JOIN profiles_1.sign_ins s USING (account)
            """,
            [account],
        ).fetchone()
    if row is None:
        raise RuntimeError("a row is selected for every account asked")
    return row
