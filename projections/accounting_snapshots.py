"""Sealed snapshots of the credit fold's state: a worker starts from one and the ledger behind it."""

from __future__ import annotations

import hashlib
import struct
from datetime import datetime
from typing import Final

import msgspec
import structlog
from psycopg import sql
from psycopg.rows import class_row, tuple_row

from application.store.sealing import SealBroken, Sealer
from domain.credit import CreditPolicy
from projections.accounting import SCHEMA, Position
from projections.credit_fold import CreditFold
from projections.credit_policy import PolicySource
from projections.credit_state import FOLD, StateUnreadable, dump_state, restore_state
from projections.engine import Connection, Cursor, tuples, use_schema

KEPT: Final = 2
"""Generations: one is whole while the next is being written, and one more in reserve."""
_PLACE: Final = struct.Struct(">qq32s32sq")

_logger = structlog.get_logger("credit")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stored state stands: behind which batch of which ledger, under which rules.

    `policy` is the digest of the policy in force there, `digest` that of the state.
    """

    ledger_seq: int
    log_position: int
    ledger_hash: bytes
    fold: str
    policy: bytes
    digest: bytes

    @property
    def position(self) -> Position:
        return Position(ledger_seq=self.ledger_seq, log_position=self.log_position)

    def place(self, number: int) -> bytes:
        """What a piece is sealed for: it opens nowhere else, nor under another description."""
        fold = hashlib.sha256(self.fold.encode() + self.policy).digest()
        return b"credit snapshot" + _PLACE.pack(
            self.ledger_seq, self.log_position, self.ledger_hash, fold, number
        )


def policy_digest(policy: CreditPolicy) -> bytes:
    """SHA-256 of rules and windows: another one may have led to another state."""
    return hashlib.sha256(msgspec.json.encode(policy)).digest()


def take_snapshot(
    conn: Connection,
    fold: CreditFold,
    position: Position,
    policy: CreditPolicy,
    *,
    sealer: Sealer,
    taken_at: datetime,
    schema: str = SCHEMA,
) -> int:
    """Store the state at `position` in one transaction and drop all but `KEPT`; gives its bytes.

    Call it with flags flushed. Raises `KeyWornOut` when the active key may seal no more.
    """
    whole, size = hashlib.sha256(), 0
    with conn.transaction():
        cursor = tuples(conn)
        use_schema(cursor, schema)
        snapshot = _described(cursor, position, policy)
        cursor.execute(_MAKE_ROOM, {"seq": position.ledger_seq, "others": KEPT - 1})
        cursor.execute(_INSERT, msgspec.structs.asdict(snapshot) | {"taken_at": taken_at})
        for number, piece in enumerate(dump_state(fold)):
            whole.update(piece)
            sealed = sealer.seal(piece, snapshot.place(number))
            cursor.execute(_INSERT_PIECE, [snapshot.ledger_seq, number, sealed])
            size += len(sealed)
        cursor.execute(
            "UPDATE snapshots SET digest = %s WHERE ledger_seq = %s",
            [whole.digest(), snapshot.ledger_seq],
        )
    return size


def restore_newest(
    conn: Connection,
    fold: CreditFold,
    policies: PolicySource,
    *,
    sealer: Sealer,
    schema: str = SCHEMA,
) -> Position | None:
    """Give an empty `fold` the newest state that is whole and of this ledger, fold and policy.

    Gives where it stands, None where there is no such snapshot; those passed over are logged.
    """
    for snapshot in _list_snapshots(conn, schema):
        reason = _unfit(conn, snapshot, policies)
        if reason is None:
            try:
                restore_state(_open(conn, snapshot, sealer, schema), fold)
            except (SealBroken, StateUnreadable) as error:
                reason = str(error)
            else:
                return snapshot.position
        _logger.warning("credit.snapshot_passed_over", batch=snapshot.ledger_seq, reason=reason)
    return None


# A snapshot beyond this batch is of a ledger that lost its end.
_MAKE_ROOM: Final = """
DELETE FROM snapshots WHERE ledger_seq >= %(seq)s OR ledger_seq NOT IN (
    SELECT ledger_seq FROM snapshots WHERE ledger_seq < %(seq)s
    ORDER BY ledger_seq DESC LIMIT %(others)s
)
"""
_INSERT: Final = """
INSERT INTO snapshots VALUES (
    %(ledger_seq)s, %(log_position)s, %(ledger_hash)s, %(fold)s, %(policy)s, %(digest)s,
    %(taken_at)s
)
"""
_INSERT_PIECE: Final = "INSERT INTO snapshot_pieces VALUES (%b::bigint, %b::int, %b)"


def _described(cursor: Cursor, position: Position, policy: CreditPolicy) -> Snapshot:
    row = cursor.execute(
        "SELECT hash FROM ledger.batches WHERE seq = %s", [position.ledger_seq]
    ).fetchone()
    if row is None:
        raise ValueError("a snapshot stands behind a batch of the ledger")
    return Snapshot(
        ledger_seq=position.ledger_seq,
        log_position=position.log_position,
        ledger_hash=bytes(row[0]),
        fold=FOLD,
        policy=policy_digest(policy),
        digest=b"",
    )


def _list_snapshots(conn: Connection, schema: str) -> list[Snapshot]:
    """Newest first."""
    cursor = conn.cursor(row_factory=class_row(Snapshot))
    return cursor.execute(
        sql.SQL(
            "SELECT ledger_seq, log_position, ledger_hash, fold, policy, digest"
            " FROM {}.snapshots ORDER BY ledger_seq DESC"
        ).format(sql.Identifier(schema))
    ).fetchall()


def _unfit(conn: Connection, snapshot: Snapshot, policies: PolicySource) -> str | None:
    """Why this snapshot says nothing here; None where it may."""
    row = (
        tuples(conn)
        .execute("SELECT hash FROM ledger.batches WHERE seq = %s", [snapshot.ledger_seq])
        .fetchone()
    )
    if row is None or bytes(row[0]) != snapshot.ledger_hash:
        return "it is of another ledger"
    if snapshot.fold != FOLD:
        return "it is of another version of the fold"
    if policy_digest(policies.upto(snapshot.log_position)) != snapshot.policy:
        return "it is of another policy"
    return None


def _open(conn: Connection, snapshot: Snapshot, sealer: Sealer, schema: str) -> bytes:
    """The state; raises `SealBroken` or `StateUnreadable`."""
    query = sql.SQL(
        "SELECT number, body FROM {}.snapshot_pieces WHERE ledger_seq = %s ORDER BY number"
    ).format(sql.Identifier(schema))
    cursor = conn.cursor(row_factory=tuple_row, binary=True)
    pieces = [
        sealer.open(bytes(body), snapshot.place(number))
        for number, body in cursor.execute(query, [snapshot.ledger_seq])
    ]
    state = b"".join(pieces)
    if hashlib.sha256(state).digest() != snapshot.digest:
        raise StateUnreadable("a state that is not what was stored")
    return state
