"""Check side of announce passkeys; the write side stands in the domain.

A passkey is 32 lower-case hex digits: the account number (4 bytes, big-endian) and 12 bytes
of BLAKE2b, keyed with the passkey key `kid`, over account, scope kind, scope id and epoch.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets
import struct
from collections.abc import Mapping
from typing import Final

PASSKEY_DIGITS: Final = 32
MAC_SIZE: Final = 12
SCOPE_ANNOUNCE: Final = 1
SCOPE_TORRENT: Final = 2

_SUBJECT: Final = struct.Struct(">IBII")


def read_passkey(text: bytes) -> bytes | None:
    """The 16 bytes of a passkey, or None where it is no 32 lower-case hex digits."""
    if len(text) != PASSKEY_DIGITS:
        return None
    try:
        passkey = binascii.unhexlify(text)
    except binascii.Error:
        return None
    # Capitals would be read as well; one key has one spelling.
    return passkey if binascii.hexlify(passkey) == text else None


def account_number(passkey: bytes) -> int:
    """The account a 16-byte passkey claims to be of."""
    return int.from_bytes(passkey[:4], "big")


class PasskeyCheck:
    """Compares passkeys with what they must be, at the same cost for right and wrong ones."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        """`keys` maps each `kid` to its 32-byte key."""
        self._seeds = {
            kid: hashlib.blake2b(key=key, digest_size=MAC_SIZE) for kid, key in keys.items()
        }
        # An unknown account or key id is checked against this, so that it costs the same.
        self._nobody = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=MAC_SIZE)

    def opens(self, passkey: bytes, kid: int, epoch: int, torrent: int) -> bool:
        """Whether the 16-byte passkey is its account's general key or its key of this torrent."""
        return self.scope(passkey, kid, epoch, torrent) != 0

    def scope(self, passkey: bytes, kid: int, epoch: int, torrent: int) -> int:
        """What the 16-byte passkey opens: SCOPE_ANNOUNCE, SCOPE_TORRENT, or 0 for nothing.

        Both candidates are always computed and compared in constant time. `torrent` is 0
        where the torrent is unknown; no key is ever made for number 0.
        """
        number = int.from_bytes(passkey[:4], "big")
        seed = self._seeds.get(kid, self._nobody)
        general = seed.copy()
        general.update(_SUBJECT.pack(number, SCOPE_ANNOUNCE, 0, epoch))
        scoped = seed.copy()
        scoped.update(_SUBJECT.pack(number, SCOPE_TORRENT, torrent, epoch))
        proof = passkey[4:]
        matches_general = hmac.compare_digest(general.digest(), proof)
        matches_scoped = hmac.compare_digest(scoped.digest(), proof)
        if matches_general:
            return SCOPE_ANNOUNCE
        return SCOPE_TORRENT if matches_scoped and torrent else 0
