"""Private text in facts: sealed under its subject's own key, unreadable once that is destroyed."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from application.store.sealing import SealBroken
from application.store.topics import holds_private
from domain.kernel import Envelope, Private

KIND: Final = "subject_key"
"""Vault kind of subject keys; owner = subject, id empty. Erase the item to erase the text."""
TAG_SIZE: Final = 8
NONCE_SIZE: Final = 12
SECRET_SIZE: Final = 32


def new_subject_key() -> bytes:
    """A tag that tells keys of one subject apart, then the secret.

    A subject whose key was destroyed may get another; the tag in each sealed text says
    which key it was, so text under the old one reads as erased, not as damaged.
    """
    return secrets.token_bytes(TAG_SIZE + SECRET_SIZE)


def seal_text(text: str, subject: UUID, key: bytes) -> bytes:
    """Key tag (8 bytes), nonce (12), AES-256-GCM ciphertext bound to the subject and the tag."""
    tag, secret = key[:TAG_SIZE], key[TAG_SIZE:]
    nonce = secrets.token_bytes(NONCE_SIZE)
    return tag + nonce + AESGCM(secret).encrypt(nonce, text.encode(), subject.bytes + tag)


def open_text(sealed: bytes, subject: UUID, key: bytes | None) -> str | None:
    """The text, or None when its key was destroyed; raises `SealBroken` when changed."""
    tag, rest = sealed[:TAG_SIZE], sealed[TAG_SIZE:]
    if key is None or key[:TAG_SIZE] != tag:
        return None
    try:
        plain = AESGCM(key[TAG_SIZE:]).decrypt(
            rest[:NONCE_SIZE], rest[NONCE_SIZE:], subject.bytes + tag
        )
    except InvalidTag:
        raise SealBroken("a private text does not open") from None
    return plain.decode()


def privates_of(envelopes: Iterable[Envelope]) -> list[Private]:
    """Every private text in the facts, in order."""
    return [
        private
        for envelope in envelopes
        if holds_private(envelope.fact.__class__)
        for private in _walk(envelope.fact)
    ]


def seal_all(privates: Iterable[Private], keys: Mapping[UUID, bytes]) -> None:
    for private in privates:
        if private.text is not None:
            private.sealed = seal_text(private.text, private.subject, keys[private.subject])


def open_all(privates: Iterable[Private], keys: Mapping[UUID, bytes]) -> None:
    """Give each text its words, or None where the subject's key is gone."""
    for private in privates:
        if private.sealed is not None:
            private.text = open_text(private.sealed, private.subject, keys.get(private.subject))


def _walk(value: Any) -> Iterator[Private]:
    if isinstance(value, Private):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _walk(getattr(value, name))
    elif isinstance(value, (tuple, list, frozenset)):
        for part in value:
            yield from _walk(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _walk(part)
