"""Signed checkpoints: the accounting state behind each closed day, to verify and replay from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final

import msgspec
import numpy as np
import zstandard
from psycopg.rows import class_row

from application.store.chain import (
    Checkpoint,
    checkpoint_holds,
    public_key,
    sign_checkpoint,
)
from application.store.keyring import Keyring, KeyringError
from application.store.ledger_places import checkpoint_place
from application.store.sealing import SealBroken, Sealer
from projections.accounting import Position
from projections.accounting_replay import refold
from projections.credit_fold import SUMS, CreditFold
from projections.credit_policy import PolicySource
from projections.credit_slots import SlotTable
from projections.credit_state import FOLD, StateUnreadable, dump_state, load_state, restore_state
from projections.engine import Connection, tuples
from projections.ledger_days import Closing, list_closings
from projections.ledger_retention import retired_to
from projections.peer_ledger import LedgerDamaged, list_batches

STATES, TOTALS = "states", "sums"
NEWEST_STATES: Final = 2
"""States kept besides the first of each month, which a replay begins at when older days went."""
_LARGEST_SUMS: Final = 2**30
Progress = Callable[[int, float], None]


class StoredCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint with its signature by key `key_id`; `day` is the one it closes."""

    checkpoint: Checkpoint
    day: date
    key_id: int
    signature: bytes
    has_state: bool

    @property
    def position(self) -> Position:
        return Position(
            ledger_seq=self.checkpoint.ledger_seq, log_position=self.checkpoint.log_position
        )


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    closing: int
    closing_hash: bytes
    ledger_seq: int
    ledger_hash: bytes
    log_position: int
    fold: str
    state_digest: bytes
    sums_digest: bytes
    at_micros: int
    key_id: int
    signature: bytes
    day: date
    has_state: bool


def list_checkpoints(conn: Connection) -> list[StoredCheckpoint]:
    """All checkpoints, oldest first."""
    rows = (
        conn.cursor(row_factory=class_row(_Row))
        .execute(
            "SELECT p.closing, p.closing_hash, p.ledger_seq, p.ledger_hash, p.log_position, p.fold,"
            " p.state_digest, p.sums_digest, p.at_micros, p.key_id, p.signature, c.day,"
            " p.state IS NOT NULL AS has_state"
            " FROM ledger.checkpoints p JOIN ledger.closings c ON c.seq = p.closing"
            " ORDER BY p.closing"
        )
        .fetchall()
    )
    fields = Checkpoint.__struct_fields__
    return [
        StoredCheckpoint(
            checkpoint=Checkpoint(**{name: getattr(row, name) for name in fields}),
            day=row.day,
            key_id=row.key_id,
            signature=row.signature,
            has_state=row.has_state,
        )
        for row in rows
    ]


class Checkpoints:
    """Makes checkpoints, and gives back the state they hold."""

    def __init__(
        self, sealer: Sealer, keyring: Keyring, policies: PolicySource, *, seed: int
    ) -> None:
        self._sealer = sealer
        self._keyring = keyring
        self._policies = policies
        self._seed = seed

    def advance(
        self, conn: Connection, now: datetime, progress: Progress | None = None
    ) -> StoredCheckpoint | None:
        """Fold to the end of the newest closed day and sign what comes out; None when there is none.

        Begins at the newest checkpoint with a state of this fold. States no longer needed are
        forgotten. Raises `LedgerDamaged`.
        """
        closings, known = list_closings(conn), list_checkpoints(conn)
        if not closings or (known and known[-1].checkpoint.closing >= closings[-1].seq):
            return None
        base = self.newest(conn)
        fold, after = base or (CreditFold(seed=self._seed), _START)
        end = max(closing.last_batch for closing in closings)
        position = refold(
            conn,
            fold,
            self._policies,
            after=after,
            upto_seq=end,
            sealer=self._sealer,
            progress=progress,
        )
        self._record(conn, fold, position, closings[-1], now)
        _forget_states(conn)
        return list_checkpoints(conn)[-1]

    def newest(
        self,
        conn: Connection,
        *,
        behind: int = 0,
        upto: int | None = None,
        oldest_first: bool = False,
    ) -> tuple[CreditFold, Position] | None:
        """The state of the newest checkpoint that holds one of this fold, and where it stands.

        Of those that stand at batch `behind` or later, and not behind `upto`. A checkpoint whose
        signature or state does not hold is passed over: `check_checkpoints` names it.
        """
        last = 2**62 if upto is None else upto
        usable = [
            stored
            for stored in list_checkpoints(conn)
            if stored.has_state
            and stored.checkpoint.fold == FOLD
            and behind <= stored.checkpoint.ledger_seq <= last
        ]
        for stored in usable if oldest_first else reversed(usable):
            if self.fault(conn, stored) is None:
                state = self._open(conn, stored, STATES)
                return load_state(state, seed=self._seed), stored.position
        return None

    def fault(self, conn: Connection, stored: StoredCheckpoint) -> str | None:
        """What is wrong with a checkpoint, in words; None when everything it says holds."""
        try:
            return self._place_fault(conn, stored) or self._content_fault(conn, stored)
        except KeyringError:
            return "it is signed under a key this keyring does not hold"
        except (SealBroken, StateUnreadable, zstandard.ZstdError) as broken:
            return f"it does not open: {broken}"

    def _place_fault(self, conn: Connection, stored: StoredCheckpoint) -> str | None:
        checkpoint = stored.checkpoint
        key = self._keyring.by_id(stored.key_id)
        batches = list_batches(conn, checkpoint.ledger_seq - 1, 1)
        hashes = {closing.seq: closing.hash for closing in list_closings(conn)}
        if not checkpoint_holds(checkpoint, stored.signature, public_key(key.material)):
            return "its signature does not hold"
        if hashes.get(checkpoint.closing) != checkpoint.closing_hash:
            return "it does not belong to its closing"
        if not batches or batches[0].hash != checkpoint.ledger_hash:
            return "the ledger has another batch at its place"
        return None

    def _content_fault(self, conn: Connection, stored: StoredCheckpoint) -> str | None:
        checkpoint = stored.checkpoint
        sums = unpack_sums(self._open(conn, stored, TOTALS))
        if hashlib.sha256(sums).digest() != checkpoint.sums_digest:
            return "its sums do not match their digest"
        if not stored.has_state or checkpoint.fold != FOLD:
            return None
        state = load_state(self._open(conn, stored, STATES), seed=self._seed)
        matches = state.digest() == checkpoint.state_digest
        return None if matches else "its state does not match its digest"

    def _record(
        self,
        conn: Connection,
        fold: CreditFold,
        position: Position,
        closing: Closing,
        now: datetime,
    ) -> None:
        key = self._keyring.active("signing")
        batch = list_batches(conn, position.ledger_seq - 1, 1)[0]
        sums = gather_sums(fold)
        checkpoint = Checkpoint(
            closing=closing.seq,
            closing_hash=closing.hash,
            ledger_seq=position.ledger_seq,
            ledger_hash=batch.hash,
            log_position=position.log_position,
            fold=FOLD,
            state_digest=fold.digest(),
            sums_digest=hashlib.sha256(sums).digest(),
            at_micros=int(now.timestamp()) * 1_000_000,
        )
        kept = {
            TOTALS: zstandard.ZstdCompressor(level=9).compress(sums),
            STATES: b"".join(dump_state(fold)),
        }
        sealed = [
            self._sealer.seal(body, checkpoint_place(closing.seq, part))
            for part, body in kept.items()
        ]
        values: list[Any] = [getattr(checkpoint, name) for name in Checkpoint.__struct_fields__]
        values += [key.id, sign_checkpoint(checkpoint, key.material), *sealed]
        with conn.transaction():
            conn.execute("SET LOCAL synchronous_commit = on")
            conn.execute(
                "SELECT ledger.record_checkpoint(%s::bigint, %s::bytea, %s::bigint, %s::bytea,"
                " %s::bigint, %s, %s::bytea, %s::bytea, %s::bigint, %s::int, %s::bytea, %s::bytea,"
                " %s::bytea)",
                values,
            )

    def _open(self, conn: Connection, stored: StoredCheckpoint, part: str) -> bytes:
        return _sealed_part(conn, self._sealer, stored, part)


def _sealed_part(conn: Connection, sealer: Sealer, stored: StoredCheckpoint, part: str) -> bytes:
    closing = stored.checkpoint.closing
    row = (
        tuples(conn)
        .execute("SELECT sums, state FROM ledger.checkpoints WHERE closing = %s", [closing])
        .fetchone()
    )
    body = row[0 if part == TOTALS else 1] if row else b""
    return sealer.open(bytes(body), checkpoint_place(closing, part))


def restore_checkpoint(conn: Connection, fold: CreditFold, sealer: Sealer) -> Position | None:
    """Give an empty `fold` the state of the oldest checkpoint behind what went; where it stands.

    For a worker that can't fold from the start any more: the oldest, as flags are made only from
    there. Every row counts as changed. What opens was sealed by us; signatures are for auditors.
    None where no state opens.
    """
    border = retired_to(conn)
    for stored in list_checkpoints(conn):
        checkpoint = stored.checkpoint
        if not stored.has_state or checkpoint.fold != FOLD or checkpoint.ledger_seq < border:
            continue
        try:
            restore_state(_sealed_part(conn, sealer, stored, STATES), fold)
        except (SealBroken, StateUnreadable):
            continue
        for table in fold.tables().values():
            table.mark(np.arange(len(table)))
        return stored.position
    return None


_START: Final = Position(ledger_seq=0, log_position=0)


def check_checkpoints(conn: Connection, checkpoints: Checkpoints) -> int:
    """Check every checkpoint; how many there are. Raises `LedgerDamaged` for the first bad one."""
    known = list_checkpoints(conn)
    for stored in known:
        fault = checkpoints.fault(conn, stored)
        if fault is not None:
            place = stored.checkpoint.ledger_seq
            raise LedgerDamaged(place, f"the checkpoint behind {stored.day}: {fault}")
    return len(known)


def gather_sums(fold: CreditFold) -> bytes:
    """Totals of members and torrents, by number: the same bytes for the same totals."""
    return msgspec.msgpack.encode(
        {"members": _columns(fold.members), "torrents": _columns(fold.torrents)}
    )


def unpack_sums(packed: bytes) -> bytes:
    """What `gather_sums` gave; raises `zstandard.ZstdError`."""
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST_SUMS)


def _columns(table: SlotTable) -> dict[str, bytes]:
    numbers = table.keys(0)
    order = np.argsort(numbers)
    sums = {name: table[name][: len(table)][order].astype("<i8").tobytes() for name in SUMS}
    return {"number": numbers[order].astype("<u8").tobytes()} | sums


def _forget_states(conn: Connection) -> None:
    """Keep the newest states and the first of each month: days before one of those may go."""
    held = [stored for stored in list_checkpoints(conn) if stored.has_state]
    border = retired_to(conn)
    months: dict[tuple[int, int], int] = {}
    for stored in held:
        months.setdefault((stored.day.year, stored.day.month), stored.checkpoint.closing)
    kept = {*months.values(), *(stored.checkpoint.closing for stored in held[-NEWEST_STATES:])}
    for stored in held:
        old = stored.checkpoint.ledger_seq < border and stored is not held[-1]
        if stored.checkpoint.closing not in kept or old:
            conn.execute("SELECT ledger.forget_state(%s::bigint)", [stored.checkpoint.closing])
