"""Whose key it is, is asked twice: where the proof is checked and where the session is opened.

Each is asked here alone, as over HTTP the one stands before the other.
"""

from __future__ import annotations

from uuid import UUID

import pytest

from application.security_key_proofs import SecurityKeyProofs
from application.security_keys import KeyProof, PassBySecurityKey
from application.sessions import TOKEN_SIZE, OpenSession, Sessions, token_hash
from domain.factors import SecurityKeyRefused
from tests.contracts.test_security_keys import REGISTER, register
from tests.kit.accounts import account_id
from tests.kit.api import Api
from tests.kit.authenticator import Authenticator
from tests.kit.browser import Browser

BOUND = "a half session"


@pytest.fixture
def key(alice: Browser) -> Authenticator:
    made = Authenticator(counter=5)
    reply = register(alice, made)
    assert reply.status_code == 200, reply.text
    return made


@pytest.fixture
def proofs(api: Api) -> SecurityKeyProofs:
    services = api.services
    return SecurityKeyProofs(
        services.log,
        services.challenges,
        services.entropy,
        rp_id=services.settings.rp_id,
        origin=services.settings.rp_origin,
    )


def proven(
    proofs: SecurityKeyProofs, key: Authenticator, account: UUID | None, *, as_first: bool = False
) -> KeyProof:
    """What the check of the key's answer gives for the half session of `account`."""
    options = proofs.assertion_options(None if as_first else account, bound=BOUND)
    return proofs.check_assertion(key.get(options), account=account, bound=BOUND)


def opening(api: Api, account: UUID, token: bytes) -> OpenSession:
    return OpenSession(
        account=account,
        session=api.services.entropy.uuid(),
        token_hash=token_hash(token),
        method="password and security key",
    )


def opens(api: Api, token: bytes) -> bool:
    return Sessions(api.log, monotonic=lambda: 0.0).find(token, api.clock()) is not None


def test_check_assertion_refuses_a_right_proof_of_another_members_key(
    api: Api, admin: Browser, alice: Browser, proofs: SecurityKeyProofs, key: Authenticator
) -> None:
    owner, other = account_id(alice), account_id(admin)
    assert proven(proofs, key, owner).account == owner
    # Without the handle, which a second factor need not show, the key's owner alone decides.
    for handle in (key.handle, b""):
        key.handle = handle
        with pytest.raises(SecurityKeyRefused):
            proven(proofs, key, other)


@pytest.mark.parametrize("as_first", [True, False])
def test_check_assertion_refuses_a_handle_that_is_not_the_owners(
    api: Api,
    admin: Browser,
    alice: Browser,
    proofs: SecurityKeyProofs,
    key: Authenticator,
    as_first: bool,
) -> None:
    account = None if as_first else account_id(alice)
    assert proven(proofs, key, account).account == account_id(alice)
    key.handle = account_id(admin).bytes
    with pytest.raises(SecurityKeyRefused):
        proven(proofs, key, account)


def test_pass_by_security_key_opens_no_session_of_another_member(
    api: Api, admin: Browser, alice: Browser, proofs: SecurityKeyProofs, key: Authenticator
) -> None:
    proof = proven(proofs, key, account_id(alice))
    token, before = api.services.entropy.token(TOKEN_SIZE), api.log.head()
    with pytest.raises(SecurityKeyRefused):
        api.dispatch(PassBySecurityKey(opening=opening(api, account_id(admin), token), proof=proof))
    assert api.log.head() == before
    assert not opens(api, token)
    api.dispatch(PassBySecurityKey(opening=opening(api, account_id(alice), token), proof=proof))
    assert opens(api, token)


def test_pass_by_security_key_takes_no_key_the_member_does_not_have(
    api: Api, admin: Browser, alice: Browser, proofs: SecurityKeyProofs, key: Authenticator
) -> None:
    """A proof that names the account as it should, by a key of somebody else or of nobody."""
    proof = proven(proofs, key, account_id(alice))
    token, before = api.services.entropy.token(TOKEN_SIZE), api.log.head()
    stolen = KeyProof(
        account=account_id(admin), key=proof.key, credential=proof.credential, counter=9
    )
    with pytest.raises(SecurityKeyRefused):
        api.dispatch(
            PassBySecurityKey(opening=opening(api, account_id(admin), token), proof=stolen)
        )
    assert api.log.head() == before
    assert not opens(api, token)


def test_a_key_removed_between_its_proof_and_the_session_opens_none(
    api: Api, alice: Browser, proofs: SecurityKeyProofs, key: Authenticator
) -> None:
    proof = proven(proofs, key, account_id(alice))
    listed = alice.get("/api/me/2fa/status").json()["passkeys"][0]["id"]
    assert alice.delete(f"/api/me/2fa/passkey/{listed}").status_code == 200
    token = api.services.entropy.token(TOKEN_SIZE)
    with pytest.raises(SecurityKeyRefused):
        api.dispatch(PassBySecurityKey(opening=opening(api, account_id(alice), token), proof=proof))
    assert not opens(api, token)


def test_a_challenge_for_registering_proves_nothing_at_sign_in(
    api: Api, alice: Browser, key: Authenticator
) -> None:
    options = alice.post("/api/me/2fa/passkey/register-challenge").json()
    reply = api.browser().post("/api/auth/passkey", json={"response": key.get(options)})
    assert reply.status_code == 401
    options = api.browser().get("/api/auth/passkey").json()
    made = Authenticator().create({**options, "user": {"id": ""}})
    assert alice.post(REGISTER, json={"name": "x", "response": made}).status_code == 401
