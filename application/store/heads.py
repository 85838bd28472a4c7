"""Signed heads: taken each minute and at a clean stop, so that history can't be rewritten later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from application.store.chain import GENESIS, Head, SignedHead, sign
from application.store.log import EventLog

# One statement is one snapshot: both heads belong to the same instant.
_NEWEST = """
SELECT coalesce(e.notification_id, 0), e.hash, coalesce(b.seq, 0), b.hash
FROM (SELECT 1) one
LEFT JOIN (
    SELECT notification_id, hash FROM log.events ORDER BY notification_id DESC LIMIT 1
) e ON true
LEFT JOIN (SELECT seq, hash FROM ledger.batches ORDER BY seq DESC LIMIT 1) b ON true
"""
_RECORD = """
SELECT log.record_head(%b::bigint, %b::bytea, %b::bigint, %b::bytea, %b::bigint, %b::int, %b::bytea)
"""
_STORED = """
SELECT position, hash, ledger_seq, ledger_hash, at_micros, key_id, signature
FROM log.heads ORDER BY position, ledger_seq
"""


def current_head(log: EventLog, at: datetime) -> Head:
    """The newest position and hash of log and ledger."""
    position, hashed, seq, ledger_hashed = log.recorder.rows(_NEWEST)[0]
    return Head(
        position=position,
        hash=hashed or GENESIS,
        ledger_seq=seq,
        ledger_hash=ledger_hashed or GENESIS,
        at_micros=int(at.timestamp() * 1_000_000),
    )


def sign_head(log: EventLog, at: datetime) -> SignedHead | None:
    """Sign and store the newest head; None when it is stored already (nothing happened)."""
    head = current_head(log, at)
    stored = log.recorder.rows(
        "SELECT 1 FROM log.heads WHERE position = %b::bigint AND ledger_seq = %b::bigint",
        (head.position, head.ledger_seq),
    )
    if stored:
        return None
    key = log.keyring.active("signing")
    signed = sign(head, key.id, key.material)
    values = (
        head.position,
        head.hash,
        head.ledger_seq,
        head.ledger_hash,
        head.at_micros,
        key.id,
        signed.signature,
    )
    log.recorder.rows(_RECORD, values)
    return signed


def stored_heads(log: EventLog) -> Iterator[SignedHead]:
    """Every signed head, oldest first."""
    for position, hashed, seq, ledger_hashed, at_micros, key_id, signature in log.recorder.rows(
        _STORED
    ):
        head = Head(
            position=position,
            hash=hashed,
            ledger_seq=seq,
            ledger_hash=ledger_hashed,
            at_micros=at_micros,
        )
        yield SignedHead(head=head, key_id=key_id, signature=signature)
