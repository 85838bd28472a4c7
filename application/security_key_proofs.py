"""WebAuthn ceremonies: options given out, answers of security keys checked."""

from __future__ import annotations

import json
from typing import Any, Literal
from uuid import UUID

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from application.password_proofs import Challenges
from application.ports import Entropy, EventLogPort
from application.security_keys import KeyProof, find_key, list_keys
from domain.factors import SecurityKeyRefused

Purpose = Literal["register", "second", "first"]
_SIZE = 32


class SecurityKeyProofs:
    """Gives out challenges and checks what keys answer.

    A challenge counts once, for its purpose, and only for the session `bound` names. Keys are
    bound to `rp_id` and answer for pages of `origin` (WebAuthn, sections 7.1 and 7.2).
    """

    def __init__(
        self,
        log: EventLogPort,
        challenges: Challenges,
        entropy: Entropy,
        *,
        rp_id: str,
        origin: str,
    ) -> None:
        self._log = log
        self._challenges = challenges
        self._entropy = entropy
        self._rp_id = rp_id
        self._origin = origin

    def registration_options(
        self, account: UUID, username: str, *, bound: str, title: str
    ) -> dict[str, Any]:
        """Options for `navigator.credentials.create`."""
        made = generate_registration_options(
            rp_id=self._rp_id,
            rp_name=title,
            user_name=username,
            user_id=account.bytes,
            challenge=self._issue("register", bound),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED,
                user_verification=UserVerificationRequirement.PREFERRED,
            ),
            exclude_credentials=self._descriptors(account),
        )
        return _plain(options_to_json(made))

    def assertion_options(self, account: UUID | None, *, bound: str) -> dict[str, Any]:
        """Options for `navigator.credentials.get`: of this account's keys as second factor, or
        for any discoverable key as the first, which must verify its user.
        """
        first = account is None
        needed = UserVerificationRequirement
        made = generate_authentication_options(
            rp_id=self._rp_id,
            challenge=self._issue("first" if first else "second", bound),
            allow_credentials=None if account is None else self._descriptors(account),
            user_verification=needed.REQUIRED if first else needed.PREFERRED,
        )
        return _plain(options_to_json(made))

    def check_registration(self, response: dict[str, Any], *, bound: str) -> tuple[str, bytes]:
        """Credential id (base64url) and public key (COSE). Raises `SecurityKeyRefused`."""
        challenge = self._take("register", response, bound)
        try:
            made = verify_registration_response(
                credential=response,
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
            )
        except (WebAuthnException, ValueError, TypeError, KeyError):
            raise SecurityKeyRefused() from None
        return bytes_to_base64url(made.credential_id), made.credential_public_key

    def check_assertion(
        self, response: dict[str, Any], *, account: UUID | None, bound: str
    ) -> KeyProof:
        """Whose key signed. Its counter is judged where it is recorded. Raises
        `SecurityKeyRefused`. `account` is None for the first factor.
        """
        first = account is None
        challenge = self._take("first" if first else "second", response, bound)
        credential = response.get("id")
        found = find_key(self._log, credential) if isinstance(credential, str) else None
        if found is None or not isinstance(credential, str):
            raise SecurityKeyRefused()
        owner, kept = found
        if account not in (None, owner) or not _names(response, owner, required=first):
            raise SecurityKeyRefused()
        try:
            # Counter 0: the library would refuse without telling whose key it was.
            checked = verify_authentication_response(
                credential=response,
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
                credential_public_key=kept.public_key,
                credential_current_sign_count=0,
                require_user_verification=first,
            )
        except (WebAuthnException, ValueError, TypeError, KeyError):
            raise SecurityKeyRefused() from None
        return KeyProof(
            account=owner, key=kept.key, credential=credential, counter=checked.new_sign_count
        )

    def _issue(self, purpose: Purpose, bound: str) -> bytes:
        challenge = self._entropy.token(_SIZE)
        self._challenges.put(f"webauthn-{purpose}", bytes_to_base64url(challenge), bound.encode())
        return challenge

    def _take(self, purpose: Purpose, response: dict[str, Any], bound: str) -> bytes:
        """The challenge the key signed, spent now whatever follows."""
        try:
            told = json.loads(base64url_to_bytes(response["response"]["clientDataJSON"]))
            challenge = told["challenge"]
            raw = base64url_to_bytes(challenge)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise SecurityKeyRefused() from None
        if bytes_to_base64url(raw) != challenge:
            raise SecurityKeyRefused()
        if self._challenges.take(f"webauthn-{purpose}", challenge) != bound.encode():
            raise SecurityKeyRefused()
        return raw

    def _descriptors(self, account: UUID) -> list[PublicKeyCredentialDescriptor]:
        return [
            PublicKeyCredentialDescriptor(id=base64url_to_bytes(credential))
            for credential in list_keys(self._log, account)
        ]


def _plain(options: str) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(options)
    return plain


def _names(response: dict[str, Any], owner: UUID, *, required: bool) -> bool:
    """Whether the user handle is the owner's; only a first factor must show one."""
    handle = response["response"].get("userHandle")
    if handle in (None, ""):
        return not required
    return bool(handle == bytes_to_base64url(owner.bytes))
