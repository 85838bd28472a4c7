"""Contract of `PUT /api/auth/password`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import msgspec
import pytest

from application.ports import VaultPut
from application.sessions import SESSION_KIND, KeptSession, OpenSession, token_hash
from domain.sessions import CredentialsInvalid
from tests.kit.accounts import account_id
from tests.kit.api import Api
from tests.kit.browser import PASSWORD, Browser, salt_of, verifier_of

PATH = "/api/auth/password"
NEW = "another long password"


def change(browser: Browser, username: str = "alice", current: str = PASSWORD) -> dict[str, Any]:
    """A body that changes the password to `NEW`, with a fresh challenge."""
    proof = browser.login_body(username, current)
    salt = salt_of("a new salt")
    return {
        "challenge": proof["challenge"],
        "currentProof": proof["proof"],
        "newSalt": salt,
        "newVerifier": verifier_of(NEW, salt, 600_000),
    }


def test_change_password_replaces_it(api: Api, alice: Browser) -> None:
    reply = alice.put(PATH, json=change(alice))
    assert (reply.status_code, reply.json()) == (200, {"success": True})
    assert alice.get("/api/me").status_code == 200
    assert api.browser().log_in("alice", NEW).status_code == 200
    assert api.browser().log_in("alice", PASSWORD).status_code == 401
    assert "account.password_changed.1" in api.topics()
    assert alice.put(PATH, json=change(alice, current=NEW)).status_code == 200


def test_change_password_ends_every_other_session_at_once(api: Api, alice: Browser) -> None:
    others = [api.browser() for _ in range(3)]
    for other in others:
        other.log_in("alice")
        assert other.get("/api/me").status_code == 200
    before = alice.cookie
    assert alice.put(PATH, json=change(alice)).status_code == 200
    assert [other.get("/api/me").status_code for other in others] == [401] * 3
    old = api.browser()
    old.client.cookies.set("trackarr-session", before or "")
    assert old.get("/api/me").status_code == 401
    assert len(alice.get("/api/me/sessions").json()["sessions"]) == 1


def test_change_password_touches_nobody_else(alice: Browser, admin: Browser, api: Api) -> None:
    assert alice.put(PATH, json=change(alice)).status_code == 200
    assert admin.get("/api/me").status_code == 200
    assert api.browser().log_in("root").status_code == 200


def test_change_password_answers_every_wrong_proof_alike(
    api: Api, alice: Browser, admin: Browser
) -> None:
    head = api.log.head()
    wrong = {**change(alice), "currentProof": "0" * 64}
    of_another = change(alice, "root")
    of_nobody = change(alice, "nobody")
    answers = [alice.put(PATH, json=body) for body in (wrong, of_another, of_nobody)]
    assert [each.status_code for each in answers] == [401] * 3
    assert all(each.json() == answers[0].json() for each in answers)
    assert answers[0].json()["message"] == "Current password is incorrect"
    assert api.log.head() == head
    assert alice.get("/api/me").status_code == 200


def test_change_password_takes_a_challenge_once(alice: Browser) -> None:
    body = change(alice)
    alice.put(PATH, json={**body, "currentProof": "0" * 64})
    again = alice.put(PATH, json=body)
    assert (again.status_code, again.json()["message"]) == (401, "Invalid or expired challenge")


def test_of_many_changes_at_once_one_wins(api: Api, alice: Browser) -> None:
    bodies = [change(alice) for _ in range(6)]
    copies = [api.browser() for _ in bodies]
    for copy in copies:
        copy.client.cookies.set("trackarr-session", alice.cookie or "")
    barrier = Barrier(len(bodies))

    def run(number: int) -> int:
        barrier.wait()
        return copies[number].put(PATH, json=bodies[number]).status_code

    with ThreadPoolExecutor(len(bodies)) as threads:
        assert sorted(threads.map(run, range(len(bodies)))) == [200] + [401] * 5
    assert api.topics().count("account.password_changed.1") == 1


def test_a_password_proven_before_the_change_opens_nothing_after_it(
    api: Api, alice: Browser
) -> None:
    body = api.browser().login_body("alice")
    proven = api.services.proofs.check("alice", body["challenge"], body["proof"])
    assert alice.put(PATH, json=change(alice)).status_code == 200
    with pytest.raises(CredentialsInvalid):
        api.dispatch(
            OpenSession(
                account=proven.account,
                session=api.services.entropy.uuid(),
                token_hash=token_hash(b"late"),
                method="password",
                password_changes=proven.password_changes,
            )
        )
    late = api.browser()
    assert late.post("/api/auth/login", json=body).status_code == 401


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("challenge", "ab"),
        ("currentProof", "g" * 64),
        ("currentProof", None),
        ("newSalt", "short"),
        ("newSalt", "x" * 129),
        ("newVerifier", "?" * 44),
        ("newVerifier", 5),
    ],
)
def test_change_password_refuses_a_bad_field(alice: Browser, field: str, value: object) -> None:
    reply = alice.put(PATH, json={**change(alice), field: value})
    assert reply.status_code == 400
    assert reply.json()["message"].startswith(f"{field}: ")


def test_change_password_needs_a_session(anonymous: Browser, alice: Browser) -> None:
    reply = anonymous.put(PATH, json=change(alice))
    assert (reply.status_code, reply.json()["message"]) == (401, "Authentication required")


def test_a_repeated_change_opens_no_second_session(api: Api, alice: Browser) -> None:
    body, key = change(alice), {"Idempotency-Key": "once"}
    assert alice.put(PATH, json=body, headers=key).status_code == 200
    assert alice.put(PATH, json=body, headers=key).status_code == 401
    assert len(api.services.sessions.list_live(account_id(alice), api.clock())) == 1


def test_a_session_that_slipped_in_beside_the_change_is_void(api: Api, alice: Browser) -> None:
    assert alice.put(PATH, json=change(alice)).status_code == 200
    token = b"t" * 32
    kept = KeptSession(session=api.services.entropy.uuid(), opened_at=api.clock())
    put = VaultPut(
        kind=SESSION_KIND,
        owner=account_id(alice),
        id=token_hash(token),
        value=msgspec.json.encode(kept),
    )
    api.log.vault_write(puts=[put])
    late = api.browser()
    late.client.cookies.set("trackarr-session", api.services.cookie.seal(token))
    assert late.get("/api/me").status_code == 401
    assert len(alice.get("/api/me/sessions").json()["sessions"]) == 1
