"""Sealing of stored values: AES-256-GCM under a key of the ring, bound to their place."""

from __future__ import annotations

import secrets
import struct
import threading
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from application.store.keyring import Keyring, KeyringError

KEY_ID: Final = struct.Struct(">I")
NONCE_SIZE: Final = 12
WORN_OUT: Final = 2**31
"""Seals per key; random 96-bit nonces are safe to 2^32 (NIST SP 800-38D §8.3)."""
ALLOTMENT: Final = 2**16
"""Seals a process reserves at a time."""

Reserve = Callable[[int, int], int]
"""Reserves seals under a key id: (key id, amount) → sum of all reservations ever."""


class SealBroken(Exception):
    """A sealed value is damaged, or stands where it was not sealed for."""


class SealKeyMissing(SealBroken):
    """A value is sealed under a key this ring does not hold: a newer one, or a removed one."""


class KeyWornOut(KeyringError):
    """The active key has sealed 2^31 values: rotate it (`trackarr keys rotate`)."""


class Sealer:
    """Seals and opens under the keys of one purpose; safe for threads.

    A sealed value is key id (4 bytes, big-endian), nonce (12 bytes), ciphertext and tag. The
    key id is bound with the caller's `place`, so no value can be moved or relabelled.
    """

    def __init__(self, keyring: Keyring, purpose: str, reserve: Reserve) -> None:
        self.active_id = keyring.active(purpose).id
        self._ciphers = {key.id: AESGCM(key.material) for key in keyring.of(purpose)}
        self._reserve = reserve
        self._left = 0
        self._counting = threading.Lock()

    def seal(self, plain: bytes, place: bytes) -> bytes:
        """Raises `KeyWornOut` when the active key may seal no more."""
        self._count()
        nonce = secrets.token_bytes(NONCE_SIZE)
        head = KEY_ID.pack(self.active_id)
        return head + nonce + self._ciphers[self.active_id].encrypt(nonce, plain, place + head)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Raises `SealBroken` when the value was changed or was sealed for another place."""
        if len(sealed) < KEY_ID.size + NONCE_SIZE:
            raise SealBroken("a sealed value is too short")
        head = sealed[: KEY_ID.size]
        cipher = self._ciphers.get(KEY_ID.unpack(head)[0])
        if cipher is None:
            raise SealKeyMissing(
                f"a value is sealed under key {KEY_ID.unpack(head)[0]}, not in the ring"
            )
        nonce = sealed[KEY_ID.size : KEY_ID.size + NONCE_SIZE]
        try:
            return cipher.decrypt(nonce, sealed[KEY_ID.size + NONCE_SIZE :], place + head)
        except InvalidTag:
            raise SealBroken("a sealed value does not open") from None

    def current(self, sealed: bytes) -> bool:
        """Whether the value is sealed under the active key."""
        return sealed[: KEY_ID.size] == KEY_ID.pack(self.active_id)

    def _count(self) -> None:
        with self._counting:
            if self._left == 0:
                if self._reserve(self.active_id, ALLOTMENT) > WORN_OUT:
                    raise KeyWornOut(
                        f"key {self.active_id} has sealed all it may; run trackarr keys rotate"
                    )
                self._left = ALLOTMENT
            self._left -= 1
