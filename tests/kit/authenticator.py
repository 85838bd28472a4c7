"""A security key in software (WebAuthn, ES256, attestation "none"), which can also misbehave."""

from __future__ import annotations

import json
import os
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40
"""Flags of the authenticator data (WebAuthn, section 6.1)."""


def text_of(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def bytes_of(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """One key for one member; every field may be set to what an honest one would never say.

    `counter` is the last one shown; `step` is what each use adds to it. `handle` is the user
    handle, learned at registration.
    """

    origin: str = "http://testserver"
    rp_id: str = "testserver"
    flags: int = PRESENT | VERIFIED
    counter: int = 0
    step: int = 1
    handle: bytes = b""
    credential: bytes = field(default_factory=lambda: os.urandom(32))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """The answer to `navigator.credentials.create`."""
        self.handle = bytes_of(options["user"]["id"])
        attestation = {"fmt": "none", "attStmt": {}, "authData": self._attested()}
        return self._credential(
            {
                "clientDataJSON": text_of(self._client("webauthn.create", options["challenge"])),
                "attestationObject": text_of(cbor2.dumps(attestation)),
            }
        )

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """The answer to `navigator.credentials.get`."""
        self.counter += self.step
        client = self._client("webauthn.get", options["challenge"])
        told = self._told(self.flags)
        signature = self.key.sign(told + sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._credential(
            {
                "clientDataJSON": text_of(client),
                "authenticatorData": text_of(told),
                "signature": text_of(signature),
                "userHandle": text_of(self.handle) if self.handle else None,
            }
        )

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        name = text_of(self.credential)
        return {
            "id": name,
            "rawId": name,
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
        }

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _told(self, flags: int) -> bytes:
        return sha256(self.rp_id.encode()).digest() + struct.pack(">BI", flags, self.counter)

    def _attested(self) -> bytes:
        size = struct.pack(">H", len(self.credential))
        return (
            self._told(self.flags | ATTESTED)
            + bytes(16)
            + size
            + self.credential
            + cbor2.dumps(self._public_key())
        )

    def _public_key(self) -> dict[int, Any]:
        """The public key as COSE has it (RFC 9053, sections 2.1 and 7.1.1)."""
        point = self.key.public_key().public_numbers()
        return {
            1: 2,
            3: -7,
            -1: 1,
            -2: point.x.to_bytes(32, "big"),
            -3: point.y.to_bytes(32, "big"),
        }
