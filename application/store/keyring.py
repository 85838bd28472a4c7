"""The keys of the installation: by id and purpose, kept wrapped by a key-encryption key."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT: Final = 1
KEY_SIZE: Final = 32
PURPOSES: Final = (
    "events",
    "vault",
    "claims",
    "passkeys",
    "signing",
    "cookie",
    "challenges",
    "connection_ids",
    "snapshots",
)
"""What keys are for; `passkeys` ids are the `kid` of the access record (uint16)."""

SCRYPT_N: Final = 2**17
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1


class KeyringError(Exception):
    """The keyring can't be used."""


class WrongKey(KeyringError):
    """The key-encryption key or the password does not open this."""


class KeyMissing(KeyringError):
    """No key of this id or purpose."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One secret of 32 bytes. A retired key only opens; it never seals, signs or issues."""

    id: int
    purpose: str
    material: bytes
    retired: bool = False

    def __repr__(self) -> str:
        return f"Key(id={self.id}, purpose={self.purpose!r}, retired={self.retired})"


class _StoredKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: int
    purpose: str
    retired: bool
    wrapped: bytes


class _Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    keys: list[_StoredKey]


class _WrappedKek(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    n: int
    r: int
    p: int
    salt: bytes
    wrapped: bytes


class Keyring:
    """All keys, immutable; `rotated` gives a new ring. Ids are unique over all purposes."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_id: Mapping[int, Key] = {key.id: key for key in sorted(keys, key=lambda k: k.id)}

    @classmethod
    def generate(cls) -> Keyring:
        """A new ring with one fresh key for each purpose."""
        return cls(()).completed()

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple(self._by_id.values())

    def by_id(self, id: int) -> Key:
        try:
            return self._by_id[id]
        except KeyError:
            raise KeyMissing(f"the keyring has no key {id}") from None

    def of(self, purpose: str) -> tuple[Key, ...]:
        """All keys of a purpose, oldest first."""
        return tuple(key for key in self.keys if key.purpose == purpose)

    def active(self, purpose: str) -> Key:
        """The newest key of a purpose that is not retired."""
        for key in reversed(self.of(purpose)):
            if not key.retired:
                return key
        raise KeyMissing(f"the keyring has no active key for {purpose}")

    def materials(self, purpose: str) -> Mapping[int, bytes]:
        """Key id → secret, for those who check (passkeys by `kid`, cookies, connection ids)."""
        return {key.id: key.material for key in self.of(purpose)}

    def completed(self) -> Keyring:
        """The same ring with a key for each purpose it lacked."""
        keys = list(self.keys)
        for purpose in PURPOSES:
            if not self.of(purpose):
                keys.append(_fresh(len(keys) and max(k.id for k in keys), purpose))
        return Keyring(keys)

    def rotated(self, purpose: str) -> Keyring:
        """A ring with a new active key for `purpose`; its other keys are retired.

        Claim values and blob references are keyed hashes that outlive any key, so `claims`
        can't be rotated.
        """
        if purpose == "claims" or purpose not in PURPOSES:
            raise KeyringError(f"keys for {purpose} can't be rotated")
        keys = [
            msgspec.structs.replace(key, retired=True) if key.purpose == purpose else key
            for key in self.keys
        ]
        return Keyring([*keys, _fresh(max(k.id for k in keys), purpose)])

    def without(self, id: int) -> Keyring:
        """A ring that no longer holds a retired key: what it sealed is gone for good."""
        if not self.by_id(id).retired:
            raise KeyringError(f"key {id} is in use")
        return Keyring(key for key in self.keys if key.id != id)

    def to_json(self, kek: bytes) -> bytes:
        """The stored form, each key wrapped by `kek` (AES-256-GCM; id, purpose, state bound)."""
        stored = _Stored(
            format=FORMAT,
            keys=[
                _StoredKey(
                    id=key.id,
                    purpose=key.purpose,
                    retired=key.retired,
                    wrapped=_wrap(kek, key.material, _bound(key.id, key.purpose, key.retired)),
                )
                for key in self.keys
            ],
        )
        return msgspec.json.format(msgspec.json.encode(stored), indent=2)

    @classmethod
    def from_json(cls, data: bytes, kek: bytes) -> Keyring:
        """Raises `WrongKey` for another `kek`, `KeyringError` for a form it does not know."""
        try:
            stored = msgspec.json.decode(data, type=_Stored)
        except msgspec.DecodeError:
            raise KeyringError("the keyring is damaged") from None
        if stored.format != FORMAT:
            raise KeyringError(f"keyring format {stored.format} is not known")
        return cls(
            Key(
                id=key.id,
                purpose=key.purpose,
                retired=key.retired,
                material=_unwrap(kek, key.wrapped, _bound(key.id, key.purpose, key.retired)),
            )
            for key in stored.keys
        )


def new_kek() -> bytes:
    """A fresh key-encryption key."""
    return secrets.token_bytes(KEY_SIZE)


def wrap_kek(kek: bytes, password: str) -> bytes:
    """The key-encryption key wrapped by a password (scrypt, RFC 7914; AES-256-GCM)."""
    salt = secrets.token_bytes(16)
    wrapped = _wrap(_stretch(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P), kek, b"kek")
    return msgspec.json.encode(
        _WrappedKek(format=FORMAT, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, salt=salt, wrapped=wrapped)
    )


def unwrap_kek(data: bytes, password: str) -> bytes:
    """The key-encryption key; raises `WrongKey` for another password."""
    try:
        stored = msgspec.json.decode(data, type=_WrappedKek)
    except msgspec.DecodeError:
        raise KeyringError("the wrapped key is damaged") from None
    if stored.format != FORMAT:
        raise KeyringError(f"wrapped key format {stored.format} is not known")
    stretched = _stretch(password, stored.salt, stored.n, stored.r, stored.p)
    return _unwrap(stretched, stored.wrapped, b"kek")


def encode_kek(kek: bytes) -> str:
    """Text form of the key-encryption key, for its file."""
    return b64encode(kek).decode()


def decode_kek(text: str) -> bytes:
    """Raises `KeyringError` for anything but 32 bytes in base64."""
    try:
        kek = b64decode(text.strip(), validate=True)
    except ValueError:
        kek = b""
    if len(kek) != KEY_SIZE:
        raise KeyringError("the key-encryption key is damaged")
    return kek


def _fresh(highest: int, purpose: str) -> Key:
    return Key(id=highest + 1, purpose=purpose, material=secrets.token_bytes(KEY_SIZE))


def _bound(id: int, purpose: str, retired: bool) -> bytes:  # noqa: FBT001 (one of three parts)
    return f"key:{id}:{purpose}:{int(retired)}".encode()


def _wrap(kek: bytes, material: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(kek).encrypt(nonce, material, bound)


def _unwrap(kek: bytes, wrapped: bytes, bound: bytes) -> bytes:
    try:
        return AESGCM(kek).decrypt(wrapped[:12], wrapped[12:], bound)
    except InvalidTag:
        raise WrongKey("the key does not open this keyring") from None


def _stretch(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=KEY_SIZE
    )
