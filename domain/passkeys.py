"""Passkeys: computed from account, scope and epoch, never stored (design, section 5)."""

from __future__ import annotations

import hmac
import re
from enum import IntEnum
from hashlib import blake2b
from typing import ClassVar

from domain.errors import Conflict
from domain.kernel import Fact

PASSKEY_LENGTH = 32
"""Hex digits: 4 bytes of account number and 12 bytes of keyed hash."""

_PASSKEY = re.compile(r"[0-9a-f]{32}")


FIRST_EPOCH = 1
"""Where every kind of passkey of a new account starts."""


class AccountAnnounceKeyRotated(Fact, frozen=True):
    """A member replaced his announce key: the one before and the keys in all files he downloaded
    open nothing any more. `epoch` is the new one.
    """

    TOPIC: ClassVar[str] = "account.announce_key_rotated.1"

    epoch: int


FACTS: tuple[type[Fact], ...] = (AccountAnnounceKeyRotated,)


class AnnounceKeyRotatedMeanwhile(Conflict):
    """Another request of the same member replaced the key first."""

    code = "announce_key_rotated_meanwhile"
    message = "You replaced this key already; look at the new one first."


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


def rotate_announce_key(epoch: int, *, seen: int) -> list[Fact]:
    """Replace the key of this epoch; `seen` is the epoch of the key the member wants to be rid of.

    Raises `AnnounceKeyRotatedMeanwhile` when that is gone already: of several requests at once
    one replaces it, and none makes void what another was just given.
    """
    if epoch != seen:
        raise AnnounceKeyRotatedMeanwhile()
    return [AccountAnnounceKeyRotated(epoch=epoch + 1)]
