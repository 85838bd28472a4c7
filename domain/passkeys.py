"""Passkeys: computed from account, scope and epoch, never stored (design, "Passkeys are not stored")."""

from __future__ import annotations

import hmac
import re
from enum import IntEnum
from hashlib import blake2b

PASSKEY_LENGTH = 32
"""Hex digits: 4 bytes of account number and 12 bytes of keyed hash."""

_PASSKEY = re.compile(r"[0-9a-f]{32}")


class PasskeyScope(IntEnum):
    """What a passkey opens. The values are part of every passkey ever given out."""

    ANNOUNCE = 1
    TORRENT = 2
    TORZNAB = 3
    FEED = 4
    API = 5


def make_passkey(
    key: bytes, account: int, *, scope: PasskeyScope, epoch: int, torrent: int = 0
) -> str:
    """The passkey of `account` (its dense number, uint32) for one scope.

    `key` is the 32-byte passkey key of the account's key id. `epoch` is raised to revoke every
    key given out before; a torrent-scoped key uses the announce epoch. `torrent` is the dense
    torrent number, and 0 for every other scope.
    """
    if (scope is PasskeyScope.TORRENT) != (torrent > 0):
        raise ValueError("a torrent number belongs to a torrent-scoped passkey, and to no other")
    number = account.to_bytes(4, "big")
    told = number + bytes([scope]) + torrent.to_bytes(4, "big") + epoch.to_bytes(4, "big")
    return (number + blake2b(told, digest_size=12, key=key).digest()).hex()


def account_of_passkey(passkey: str) -> int | None:
    """The account number a passkey names, unproven; None when it has not the form of one."""
    if _PASSKEY.fullmatch(passkey) is None:
        return None
    return int(passkey[:8], 16)


def passkey_matches(
    passkey: str, key: bytes, account: int, *, scope: PasskeyScope, epoch: int, torrent: int = 0
) -> bool:
    """Whether `passkey` is the one of this account, scope and epoch, in constant time."""
    expected = make_passkey(key, account, scope=scope, epoch=epoch, torrent=torrent)
    return hmac.compare_digest(expected.encode(), passkey.encode())
