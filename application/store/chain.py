"""The two hash chains and their signed heads, recomputed here from what is stored.

Every hash input of the permanent record stands in this module and, for those the database
computes itself, in the same words in `ops/migrations/0001_log.sql`, `0003_ledger.sql` and
`0005_ledger_days.sql`.
Integers are big-endian; int4 and int8 are signed. `sized(text)` is the length of the UTF-8
form as int4, then the form.

commit of a fact      SHA-256(plain body)
hash of a fact        SHA-256(previous hash, position int8, originator id 16 bytes, version int8,
                      sized(topic), commit)
hash of a batch       SHA-256(previous hash, seq int8, sized(stream), sized(first id),
                      sized(last id), records int4, log position int8, digest)
hash of a closing     SHA-256(previous hash, seq int8, day int4, first segment int4, last segment
                      int4, last batch int8, records int8, digest); day counts from 1970-01-01
signed text of a      b"trackarr checkpoint 1", closing int8, closing hash, ledger seq int8,
checkpoint            ledger hash, log position int8, sized(fold), state digest, sums digest,
                      time int8
signed text of a head b"trackarr head 1", position int8, hash, ledger seq int8, ledger hash,
                      time int8 (microseconds since 1970 UTC)

The first fact, batch and closing have 32 zero bytes as previous hash, and so has the head
of a log or ledger that is empty.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

GENESIS: Final = bytes(32)
_INT4: Final = struct.Struct(">i")
_INT8: Final = struct.Struct(">q")
_HEAD_PREFIX: Final = b"trackarr head 1"
_CHECKPOINT_PREFIX: Final = b"trackarr checkpoint 1"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Newest position and hash of log and ledger at one instant (`at_micros`, UTC)."""

    position: int
    hash: bytes
    ledger_seq: int
    ledger_hash: bytes
    at_micros: int


class SignedHead(msgspec.Struct, frozen=True, kw_only=True):
    """A head with its Ed25519 signature under key `key_id` of purpose `signing`."""

    head: Head
    key_id: int
    signature: bytes


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The accounting state behind a closed day: where it stands, and digests of what it is.

    `fold` names the rules and columns of the state.
    """

    closing: int
    closing_hash: bytes
    ledger_seq: int
    ledger_hash: bytes
    log_position: int
    fold: str
    state_digest: bytes
    sums_digest: bytes
    at_micros: int


def event_hash(
    previous: bytes, position: int, originator_id: UUID, version: int, *, topic: str, commit: bytes
) -> bytes:
    """The chain hash of one fact."""
    return hashlib.sha256(
        previous
        + _INT8.pack(position)
        + originator_id.bytes
        + _INT8.pack(version)
        + _sized(topic)
        + commit
    ).digest()


def batch_hash(
    previous: bytes,
    seq: int,
    *,
    stream: str,
    first_id: str,
    last_id: str,
    records: int,
    log_position: int,
    digest: bytes,
) -> bytes:
    """The chain hash of one batch of the peer ledger."""
    return hashlib.sha256(
        previous
        + _INT8.pack(seq)
        + _sized(stream)
        + _sized(first_id)
        + _sized(last_id)
        + _INT4.pack(records)
        + _INT8.pack(log_position)
        + digest
    ).digest()


def closing_hash(
    previous: bytes,
    seq: int,
    day: int,
    *,
    segments: tuple[int, int],
    last_batch: int,
    records: int,
    digest: bytes,
) -> bytes:
    """The chain hash of one closing of a day; `segments` are its first and last."""
    return hashlib.sha256(
        previous
        + _INT8.pack(seq)
        + _INT4.pack(day)
        + _INT4.pack(segments[0])
        + _INT4.pack(segments[1])
        + _INT8.pack(last_batch)
        + _INT8.pack(records)
        + digest
    ).digest()


def sign(head: Head, key_id: int, secret: bytes) -> SignedHead:
    """Sign a head with an Ed25519 seed (RFC 8032)."""
    signature = Ed25519PrivateKey.from_private_bytes(secret).sign(_signed_text(head))
    return SignedHead(head=head, key_id=key_id, signature=signature)


def signature_holds(signed: SignedHead, public: bytes) -> bool:
    """Whether the signature is by the holder of this public key (32 raw bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(
            signed.signature, _signed_text(signed.head)
        )
    except InvalidSignature:
        return False
    return True


def sign_checkpoint(checkpoint: Checkpoint, secret: bytes) -> bytes:
    """Sign a checkpoint with an Ed25519 seed (RFC 8032)."""
    return Ed25519PrivateKey.from_private_bytes(secret).sign(_checkpoint_text(checkpoint))


def checkpoint_holds(checkpoint: Checkpoint, signature: bytes, public: bytes) -> bool:
    """Whether the signature is by the holder of this public key (32 raw bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _checkpoint_text(checkpoint))
    except InvalidSignature:
        return False
    return True


def public_key(secret: bytes) -> bytes:
    """The 32 raw bytes an auditor checks signatures with."""
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def _signed_text(head: Head) -> bytes:
    return (
        _HEAD_PREFIX
        + _INT8.pack(head.position)
        + head.hash
        + _INT8.pack(head.ledger_seq)
        + head.ledger_hash
        + _INT8.pack(head.at_micros)
    )


def _checkpoint_text(checkpoint: Checkpoint) -> bytes:
    return (
        _CHECKPOINT_PREFIX
        + _INT8.pack(checkpoint.closing)
        + checkpoint.closing_hash
        + _INT8.pack(checkpoint.ledger_seq)
        + checkpoint.ledger_hash
        + _INT8.pack(checkpoint.log_position)
        + _sized(checkpoint.fold)
        + checkpoint.state_digest
        + checkpoint.sums_digest
        + _INT8.pack(checkpoint.at_micros)
    )


def _sized(text: str) -> bytes:
    raw = text.encode()
    return _INT4.pack(len(raw)) + raw
