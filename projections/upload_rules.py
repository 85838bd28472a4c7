"""The upload rules in force: table, fold and query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from psycopg.rows import tuple_row

from domain.kernel import Recorded
from domain.upload_rules import UploadRules, UploadRulesChanged
from projections.engine import Connection, Cursor

DDL = """
CREATE TABLE rules (
    version integer PRIMARY KEY,
    rules text COLLATE "C" NOT NULL
);
"""


class UploadRulesRow(msgspec.Struct, frozen=True, kw_only=True):
    """The rules and their version, 0 before anybody changed them."""

    version: int
    rules: UploadRules


class UploadRulesProjection:
    """One row with the rules as they are now."""

    name = "upload_rules"
    version = 1
    topics: frozenset[str] | None = frozenset({UploadRulesChanged.TOPIC})
    ddl = DDL
    keys: Mapping[str, tuple[str, ...]] = {"rules": ("version",)}

    def fold(self, cursor: Cursor, batch: Sequence[Recorded]) -> None:
        """Only the last change counts: each holds all rules."""
        changes = [
            recorded.envelope
            for recorded in batch
            if isinstance(recorded.envelope.fact, UploadRulesChanged)
        ]
        if changes:
            last = changes[-1]
            rules = UploadRules(**msgspec.structs.asdict(last.fact))
            cursor.execute("DELETE FROM rules")
            cursor.execute(
                "INSERT INTO rules (version, rules) VALUES (%s, %s)",
                [last.originator_version, msgspec.json.encode(rules).decode()],
            )


def find_upload_rules(conn: Connection) -> UploadRulesRow:
    """The rules in force."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute("SELECT version, rules FROM upload_rules_1.rules LIMIT 1").fetchone()
    if row is None:
        return UploadRulesRow(version=0, rules=UploadRules())
    return UploadRulesRow(version=row[0], rules=msgspec.json.decode(row[1], type=UploadRules))
