"""What the behaviour sheets state in numbers, where no other contract test holds it yet."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta
from typing import Any

import msgspec

from application.factors import DEVICE_KIND
from application.password_proofs import VERIFIER_ID, VERIFIER_KIND, Verifier
from application.ports import VaultPut
from application.second_factor import HALF_LIFE
from application.sessions import token_hash
from application.site import ChangeSettings
from interfaces.http.cookies import DEVICE_COOKIE
from tests.contracts.test_me import add_totals
from tests.contracts.test_security_keys import register
from tests.kit.accounts import account_id
from tests.kit.api import Api
from tests.kit.authenticator import Authenticator, text_of
from tests.kit.browser import PASSWORD, Browser, proof_for
from tests.kit.factors import enabled

VERIFY = "/api/auth/2fa/verify-totp"


# Sign-in


def test_a_verifier_of_the_older_iteration_count_still_signs_in(
    api: Api, alice: Browser, anonymous: Browser
) -> None:
    """The vector of the older sheet: 100,000 iterations over the salt 00..1f."""
    salt = b64encode(bytes(range(32))).decode()
    kept = Verifier(
        salt=salt, verifier="qA9fDc3MyY1v+pg6taema13ku3K3WkKQMCNtbrcblsA=", iterations=100_000
    )
    put = VaultPut(
        kind=VERIFIER_KIND,
        owner=account_id(alice),
        id=VERIFIER_ID,
        value=msgspec.json.encode(kept),
    )
    api.log.vault_write(puts=[put])
    asked = anonymous.get("/api/auth/challenge", params={"username": "alice"}).json()
    assert (asked["salt"], asked["iterations"]) == (salt, 100_000)
    proof = proof_for(kept.verifier, asked["challenge"])
    body = {"username": "alice", "challenge": asked["challenge"], "proof": proof}
    assert anonymous.post("/api/auth/login", json=body).status_code == 200
    # What the client says he derived is never asked: by the newer count it is another proof.
    assert anonymous.log_in("alice", PASSWORD).status_code == 200


def test_a_name_has_three_to_twenty_characters(api: Api, admin: Browser) -> None:
    api.dispatch(ChangeSettings(changes={"registrationOpen": True}))
    for name in ("abc", "a" * 20, "A_z-09"):
        assert api.browser().register(name).status_code == 200, name
    for name in ("ab", "a" * 21, ""):
        assert api.browser().register(name).status_code == 400, name


def test_an_empty_invitation_code_is_none(api: Api, admin: Browser) -> None:
    api.dispatch(ChangeSettings(changes={"registrationOpen": True, "inviteEnabled": True}))
    assert api.browser().register("carol", inviteCode="").status_code == 200


# Second factors


def test_a_half_session_lasts_five_minutes(api: Api, alice: Browser) -> None:
    enabled(api, alice)
    token = api.browser().log_in("alice").json()["challengeToken"]
    assert 16 <= len(token) <= 128
    (key,) = api.redis.keys("half:*")
    assert HALF_LIFE == 300
    assert HALF_LIFE - 5 <= api.redis.ttl(key) <= HALF_LIFE
    assert token.encode() not in key


def test_a_recovery_code_is_read_in_any_case_with_or_without_its_hyphen(
    api: Api, alice: Browser
) -> None:
    one, two, three, four, *_ = enabled(api, alice).recovery_codes
    for told in (one, two.replace("-", ""), three.lower(), four.replace("-", "").lower()):
        browser = api.browser()
        browser.log_in("alice")
        assert browser.post(VERIFY, json={"recoveryCode": told}).status_code == 200


def test_a_trusted_device_has_a_guarded_cookie_and_a_short_name(api: Api, alice: Browser) -> None:
    app = enabled(api, alice)
    browser = api.browser(**{"user-agent": "B" * 500})
    browser.log_in("alice")
    reply = browser.post(VERIFY, json={"code": app.code(), "trust_device": True})
    (cookie,) = (
        each for each in reply.headers.get_list("set-cookie") if each.startswith(DEVICE_COOKIE)
    )
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert parts == {"httponly", "max-age=2592000", "path=/", "samesite=lax"}
    (device,) = browser.get("/api/me/2fa/sessions").json()["devices"]
    assert device["label"] == "B" * 120
    made, ends = (datetime.fromisoformat(device[name]) for name in ("createdAt", "expiresAt"))
    assert ends - made == timedelta(days=30)
    sealed = browser.client.cookies.get(DEVICE_COOKIE)
    token = api.services.device_cookie.open(sealed or "")
    assert token is not None
    assert len(token) == 32
    assert list(api.log.vault_list(DEVICE_KIND, account_id(alice))) == [token_hash(token)]


def test_options_for_keys_ask_what_the_sheet_says(api: Api, alice: Browser) -> None:
    key = Authenticator()
    assert register(alice, key).status_code == 200
    made = alice.post("/api/me/2fa/passkey/register-challenge").json()
    assert made["attestation"] == "none"
    assert made["authenticatorSelection"]["residentKey"] == "preferred"
    assert made["authenticatorSelection"]["userVerification"] == "preferred"
    assert [each["id"] for each in made["excludeCredentials"]] == [text_of(key.credential)]
    assert made["user"]["id"] == text_of(account_id(alice).bytes)
    half = api.browser()
    half.log_in("alice")
    asked = half.post("/api/auth/2fa/passkey-options", json={}).json()
    assert asked["userVerification"] == "preferred"
    assert [each["id"] for each in asked["allowCredentials"]] == [text_of(key.credential)]


# Ratios


def test_a_ratio_is_null_where_it_has_no_end(api: Api, alice: Browser, anonymous: Browser) -> None:
    page = f"/api/users/{account_id(alice)}"
    for uploaded, downloaded, own, public in (
        (0, 0, 0.0, 1.0),
        (1, 0, None, None),
        (0, 1, 0.0, 0.0),
        (3, 2, 1.5, 1.5),
        (2**60, 1, float(2**60), float(2**60)),
        (2**60, 2**61, 0.5, 0.5),
    ):
        add_totals(api, alice, uploaded=uploaded, downloaded=downloaded)
        assert alice.get("/api/me").json()["ratio"] == own
        assert anonymous.get(page).json()["ratio"] == public


def test_a_rule_compares_ratios_to_the_byte(api: Api, admin: Browser, alice: Browser) -> None:
    made = admin.post("/api/admin/roles", json=sharer("gte", 1.5)).json()
    for comparator, value, uploaded, downloaded, meets in (
        ("gte", 1.5, 3_000, 2_000, True),
        ("gt", 1.5, 3_000, 2_000, False),
        ("lte", 1.5, 3_000, 2_000, True),
        ("lt", 1.5, 3_000, 2_000, False),
        ("eq", 1.5, 3_000, 2_000, True),
        ("gte", 1.5, 2_999, 2_000, False),
        ("eq", 1.5, 3_001, 2_000, False),
        ("lte", 1.5, 0, 2_000, True),
        # Nothing downloaded is no ratio at all, whatever was uploaded.
        ("gte", 0, 3_000, 0, False),
        ("lte", 1_000_000, 3_000, 0, False),
        ("eq", 0, 0, 0, False),
    ):
        add_totals(api, alice, uploaded=uploaded, downloaded=downloaded)
        edited = admin.put(f"/api/admin/roles/{made['id']}", json=sharer(comparator, value))
        assert edited.status_code == 200, edited.text
        assert admin.post("/api/admin/roles/recompute").status_code == 200
        held = admin.get(f"/api/admin/users/{account_id(alice)}/roles").json()
        told = (comparator, value, uploaded, downloaded)
        assert [each["name"] for each in held] == (["Sharer"] if meets else []), told


def sharer(comparator: str, value: float) -> dict[str, Any]:
    """A role for those whose ratio compares so."""
    condition = {"field": "ratio", "comparator": comparator, "value": value}
    rules = {"combinator": "and", "conditions": [condition]}
    return {"name": "Sharer", "assignmentMode": "auto", "rules": rules}


# Limits of lists, and how long an invitation lasts


def test_a_page_has_a_largest_size(admin: Browser) -> None:
    for path, name, most in (
        ("/api/me/downloads", "pageSize", 100),
        ("/api/me/seeds", "pageSize", 100),
        ("/api/me/following", "limit", 100),
        ("/api/me/favorites", "limit", 100),
        ("/api/me/reports", "limit", 50),
        (f"/api/users/{account_id(admin)}/uploads", "limit", 100),
        ("/api/admin/users", "pageSize", 100),
        ("/api/admin/banned-ips", "pageSize", 100),
        ("/api/admin/invites", "limit", 50),
    ):
        for size, status in ((1, 200), (most, 200), (most + 1, 400), (0, 400), ("x", 400)):
            assert admin.get(path, params={name: size}).status_code == status, (path, size)


def test_an_invitation_lasts_as_long_as_was_said(api: Api, admin: Browser) -> None:
    api.dispatch(ChangeSettings(changes={"inviteEnabled": True}))
    for days in (1, 7, 30, 90, None):
        before = api.clock()
        made = admin.post("/api/invites", json={"expiresInDays": days}).json()["invite"]
        if days is None:
            assert made["expiresAt"] is None
        else:
            late = datetime.fromisoformat(made["expiresAt"]) - before - timedelta(days=days)
            assert abs(late) < timedelta(seconds=30)


def test_an_invitation_lasts_seven_days_where_nothing_is_said(api: Api, alice: Browser) -> None:
    api.dispatch(ChangeSettings(changes={"inviteEnabled": True}))
    made = alice.post("/api/invites", json={}).json()["invite"]
    left = datetime.fromisoformat(made["expiresAt"]) - api.clock()
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
