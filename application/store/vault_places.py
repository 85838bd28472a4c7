"""What vault values, blobs and answers are bound to, and the keyed hashes that name things."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from uuid import UUID

from domain.kernel import Claim

_SCHEME: Final = "sha256"


def item_place(kind: str, owner: UUID, id: str) -> bytes:
    """What a vault value is bound to."""
    return b"vault:" + _sized(kind) + owner.bytes + _sized(id)


def blob_place(ref: bytes) -> bytes:
    """What a blob is bound to."""
    return b"blob:" + ref


def answer_place(command: UUID) -> bytes:
    """What the kept answer of a command is bound to."""
    return b"answer:" + command.bytes


def claim_value(claim: Claim, secret: bytes) -> bytes:
    """The keyed hash under which a claimed name is stored."""
    return _keyed(secret, b"claim:" + _sized(claim.kind) + claim.value.encode())


def blob_ref(content: bytes, secret: bytes) -> bytes:
    """The reference of a blob: a keyed hash of its content, so that it can't be guessed."""
    return _keyed(secret, b"blob:" + hashlib.sha256(content).digest())


def _keyed(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, _SCHEME)


def _sized(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(4, "big") + raw
