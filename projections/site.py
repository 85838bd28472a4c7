"""The site's settings and whether it has its first account: tables, fold and query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.kernel import Recorded
from domain.site import SiteFounded, SiteSettingsChanged
from domain.site_settings import DEFAULTS, SettingValue
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE settings (
    key text COLLATE "C" PRIMARY KEY,
    value text COLLATE "C" NOT NULL
);
CREATE TABLE founding (
    founder uuid PRIMARY KEY,
    founded_at timestamptz NOT NULL
);
"""


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """All settings in force, and who founded the site; None before the first account."""

    settings: Mapping[str, SettingValue]
    founder: UUID | None

    @property
    def registration_open(self) -> bool:
        return self.settings["registrationOpen"] is True

    @property
    def invite_enabled(self) -> bool:
        return self.settings["inviteEnabled"] is True


class SiteProjection:
    """Settings as they are now; a value is kept as its JSON text."""

    name = "site"
    version = 1
    topics: frozenset[str] | None = frozenset({SiteFounded.TOPIC, SiteSettingsChanged.TOPIC})
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {"settings": ("key",), "founding": ("founder",)}

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        changed: dict[str, str] = {}
        for recorded in batch:
            match recorded.envelope.fact:
                case SiteSettingsChanged(changes=changes):
                    for key, value in changes.items():
                        changed[key] = msgspec.json.encode(value).decode()
                case SiteFounded(founder=founder):
                    cursor.execute(
                        "INSERT INTO founding (founder, founded_at) VALUES (%s, %s)",
                        [founder, recorded.envelope.meta.at],
                    )
        cursor.execute(
            """
            INSERT INTO settings (key, value)
            SELECT * FROM unnest(%(keys)s::text[], %(values)s::text[])
            ON CONFLICT (key) DO UPDATE SET value = excluded.value
            """,
            {"keys": list(changed), "values": list(changed.values())},
        )


class _SettingRow(msgspec.Struct, frozen=True):
    key: str
    value: str


class _Founding(msgspec.Struct, frozen=True):
    founder: UUID


def read_site(conn: Connection) -> SiteView:
    """The settings in force: what was changed, and the default of everything else.

    A setting this code does not know (any more) is left out.
    """
    with conn.cursor(row_factory=class_row(_SettingRow)) as cursor:
        rows = cursor.execute("SELECT key, value FROM site_1.settings LIMIT 10000").fetchall()
    with conn.cursor(row_factory=class_row(_Founding)) as cursor:
        founding = cursor.execute("SELECT founder FROM site_1.founding LIMIT 1").fetchone()
    changed = {row.key: msgspec.json.decode(row.value) for row in rows if row.key in DEFAULTS}
    return SiteView(
        settings={**DEFAULTS, **changed}, founder=founding.founder if founding else None
    )
