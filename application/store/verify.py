"""Recomputes what the store promises: both chains, the seals, the claims, the signed heads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.types.numeric import Int8

from application.store import chain
from application.store.heads import stored_heads
from application.store.log import EventLog
from application.store.recorder import ClaimChange
from application.store.sealing import SealBroken
from domain.kernel import Envelope

PAGE: Final = 1000

Progress = Callable[[int], None]
"""Told the position or batch reached, once a page."""

_EVENTS = """
SELECT notification_id, originator_id, originator_version, topic, state, commit, hash
FROM log.events WHERE notification_id > %b::bigint AND notification_id <= %b::bigint
ORDER BY notification_id LIMIT 1000
"""
_BATCHES = """
SELECT seq, stream, first_id, last_id, records, log_position, digest, previous, hash
FROM ledger.batches WHERE seq > %b::bigint ORDER BY seq LIMIT 1000
"""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing that does not hold: where ("position 7", "batch 3") and what."""

    place: str
    what: str


class LogCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of walking the log: facts seen, the last hash, and the first fault if any."""

    facts: int
    last_hash: bytes
    fault: Fault | None = None


def verify_log(log: EventLog, upto: int, progress: Progress = lambda _: None) -> LogCheck:
    """Walk the log to position `upto`: order, chain, seals, commits, topics and bodies."""
    previous, expected = chain.GENESIS, 1
    for row in _pages(log, _EVENTS, upto, progress):
        fault = _event_fault(log, row, previous, expected)
        if fault is not None:
            place = f"position {min(expected, row[0])}"
            return LogCheck(
                facts=expected - 1, last_hash=previous, fault=Fault(place=place, what=fault)
            )
        previous, expected = row[6], expected + 1
    if expected <= upto:
        fault_at = Fault(place=f"position {expected}", what="the fact is missing")
        return LogCheck(facts=expected - 1, last_hash=previous, fault=fault_at)
    return LogCheck(facts=expected - 1, last_hash=previous)


def verify_batches(log: EventLog, progress: Progress = lambda _: None) -> Fault | None:
    """Walk the chain of the peer ledger's batches (their records are checked elsewhere)."""
    previous, expected, after = chain.GENESIS, 1, 0
    while rows := log.recorder.rows(_BATCHES, (Int8(after),)):
        for seq, stream, first_id, last_id, records, log_position, digest, linked, hashed in rows:
            place = f"batch {min(expected, seq)}"
            if seq != expected:
                return Fault(place=place, what="the batch is missing")
            computed = chain.batch_hash(
                previous,
                seq,
                stream=stream,
                first_id=first_id,
                last_id=last_id,
                records=records,
                log_position=log_position,
                digest=digest,
            )
            if linked != previous or hashed != computed:
                return Fault(place=place, what="the chain is broken")
            previous, expected, after = hashed, expected + 1, seq
        progress(after)
    return None


def verify_heads(log: EventLog) -> Fault | None:
    """Check each signed head against its key and against the rows it speaks of."""
    for signed in stored_heads(log):
        head = signed.head
        place = f"head at position {head.position}, batch {head.ledger_seq}"
        known = {key.id: key.material for key in log.keyring.of("signing")}
        secret = known.get(signed.key_id)
        if secret is None:
            return Fault(place=place, what="its signing key is not in the keyring")
        if not chain.signature_holds(signed, chain.public_key(secret)):
            return Fault(place=place, what="the signature is wrong")
        if _hash_at(log, "events", head.position) != head.hash:
            return Fault(place=place, what="the log has another hash there")
        if _hash_at(log, "batches", head.ledger_seq) != head.ledger_hash:
            return Fault(place=place, what="the ledger has another hash there")
    return None


def verify_claims(log: EventLog, upto: int, progress: Progress = lambda _: None) -> Fault | None:
    """Fold the claims from the log to `upto` and compare them with the table.

    Call it with the writers at rest, or with `upto` the head of a snapshot the table is
    read in; the caller compares again when the head moved meanwhile.
    """
    held: dict[tuple[str, bytes], UUID] = {}
    after = 0
    while after < upto:
        recorded, after_next = log.read(after, min(PAGE, upto - after))
        fold_claims(held, log.claim_changes([r.envelope for r in recorded]))
        if after_next == after:
            break
        after = after_next
        progress(after)
    stored = {
        (kind, value): owner
        for kind, value, owner in log.recorder.rows("SELECT kind, value, owner FROM log.claims")
    }
    for key in sorted(held.keys() | stored.keys()):
        if held.get(key) != stored.get(key):
            return Fault(
                place=f"claim {key[0]} {key[1].hex()}", what=_claim_difference(held, stored, key)
            )
    return None


def fold_claims(held: dict[tuple[str, bytes], UUID], changes: Iterator[ClaimChange]) -> None:
    """Apply changes to who holds what, by the rules of `log.change_claims`."""
    for change in changes:
        key = (change.kind, change.value)
        if change.take:
            held.setdefault(key, change.owner)
        elif held.get(key) == change.owner:
            del held[key]


def _claim_difference(
    held: dict[tuple[str, bytes], UUID],
    stored: dict[tuple[str, bytes], UUID],
    key: tuple[str, bytes],
) -> str:
    if key not in stored:
        return "the log says it is held, the table lacks it"
    if key not in held:
        return "the table has it, the log says nobody holds it"
    return "the table names another owner than the log"


def _event_fault(log: EventLog, row: Any, previous: bytes, expected: int) -> str | None:
    position, originator_id, version, topic, state, commit, hashed = row
    if position != expected:
        return "the fact is missing"
    computed = chain.event_hash(
        previous, position, originator_id, version, topic=topic, commit=commit
    )
    if computed != hashed:
        return "the chain is broken"
    try:
        plain = log.mapper.plain(originator_id, version, topic, state)
        if hashlib.sha256(plain).digest() != commit:
            return "the body is not the one that was committed to"
        body = log.registry.decode(topic, plain)
    except SealBroken as broken:
        return str(broken)
    except msgspec.ValidationError:
        return "the body does not fit its topic"
    return _private_fault(log, originator_id, version, body.meta, body.fact)


def _private_fault(
    log: EventLog, originator_id: UUID, version: int, meta: Any, fact: Any
) -> str | None:
    envelope = Envelope(
        originator_id=originator_id, originator_version=version, meta=meta, fact=fact
    )
    try:
        log.open_private([envelope])
    except SealBroken as broken:
        return str(broken)
    return None


def _pages(log: EventLog, query: str, upto: int, progress: Progress) -> Iterator[Any]:
    after = 0
    while rows := log.recorder.rows(query, (Int8(after), Int8(upto))):
        yield from rows
        after = rows[-1][0]
        progress(after)


def _hash_at(log: EventLog, table: str, number: int) -> bytes | None:
    """The stored hash of a position or batch; the genesis value for 0, None when missing."""
    if number == 0:
        return chain.GENESIS
    queries = {
        "events": "SELECT hash FROM log.events WHERE notification_id = %b::bigint",
        "batches": "SELECT hash FROM ledger.batches WHERE seq = %b::bigint",
    }
    rows = log.recorder.rows(queries[table], (Int8(number),))
    return rows[0][0] if rows else None
