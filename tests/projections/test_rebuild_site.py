"""Every real read model of a lived-in site: live tables equal a replay in any batch size."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from application.site import ChangeSettings
from domain.credit import CreditPolicy
from interfaces.workers.projections import ProjectionWorker
from projections import engine
from projections.credit_policy import StandingPolicy
from projections.digest import digest_tables, find_differences
from projections.engine import schema_of
from projections.rebuild import fill, rebuild
from projections.registry import ALL
from projections.verify import Verifier
from tests.kit import forum, reports
from tests.kit.accounts import account_id, administrator, member, moderator
from tests.kit.api import Api, running_api
from tests.kit.browser import Browser
from tests.kit.torrents import accepted, uploaded
from tests.kit.upload_rules import NO_RULES


@pytest.fixture
def api(app_url: str, redis_url: str) -> Iterator[Api]:
    with running_api(app_url, redis_url) as running:
        live_in(running)
        ProjectionWorker(running.services.reads, running.log, ALL).sweep()
        yield running


def live_in(api: Api) -> None:
    """Members, categories, uploads, follows and every decision of staff, over HTTP."""
    root = administrator(api)
    alice, mona = member(api, "alice"), moderator(api, "mona")
    assert root.post("/api/admin/categories", json={"name": "Films"}).status_code in {200, 201}
    accepted(mona, alice, "Accepted")
    for decision in ("reject", "request-changes", "reset"):
        decide(mona, uploaded(alice, f"For {decision}")["infoHash"], decision)
    decide(mona, accepted(mona, alice, "Accepted and reset"), "reset")
    uploaded(alice, "Pending")
    assert alice.patch("/api/me", json={"bio": "Reads.", "theme": "light"}).status_code == 200
    for follower, followed in ((alice, mona), (alice, root), (mona, alice)):
        assert follower.post(f"/api/users/{account_id(followed)}/follow").status_code == 200
    assert alice.delete(f"/api/users/{account_id(root)}/follow").status_code == 200
    api.dispatch(ChangeSettings(changes={"registrationOpen": True, "inviteEnabled": True}))
    decide_on_members(api, root, alice)
    talk(root, mona, alice)


def decide_on_members(api: Api, root: Browser, alice: Browser) -> None:
    """Invitations used and taken back, roles, and bans of members and addresses."""
    used, revoked = (alice.post("/api/invites").json()["invite"] for _ in range(2))
    bob = api.browser()
    assert bob.register("bob", invite=used["code"]).status_code == 200
    assert alice.delete(f"/api/invites/{revoked['id']}").status_code == 200
    role = root.post("/api/admin/roles", json={"name": "Helper", "permissions": ["canAudit"]})
    given = {"roleId": role.json()["id"]}
    account = account_id(bob)
    assert root.post(f"/api/admin/users/{account}/roles", json=given).status_code == 200
    banned = root.post(f"/api/admin/users/{account}/ban", json={"reason": "spam", "duration": 3})
    assert banned.status_code == 200
    for ip in ("203.0.113.0/24", "2001:db8::1"):
        body = {"ip": ip, "reason": "spam"}
        assert root.post("/api/admin/banned-ips", json=body).status_code == 200
    assert root.delete("/api/admin/banned-ips/2001:db8::1").status_code == 200


def talk(root: Browser, mona: Browser, alice: Browser) -> None:
    """Rules, tags, favourites, comments, the forum, and a report withdrawn and one resolved."""
    rules = {**NO_RULES, "titleBlocklist": ".*CAM.*"}
    assert root.put("/api/admin/upload-rules", json=rules).status_code == 200
    assert root.post("/api/admin/tags", json={"name": "Poetry"}).status_code in {200, 201}
    info_hash = accepted(mona, alice, "Talked about")
    assert mona.post(f"/api/torrents/{info_hash}/favorite").status_code == 200
    said = mona.post(f"/api/torrents/{info_hash}/comments", json={"content": "Thank you."})
    assert said.status_code in {200, 201}, said.text
    topic = forum.started(alice, forum.category(root, "Books"), "Hello", "I read.")["id"]
    forum.answered(mona, topic, "Welcome.")
    withdrawn = reports.filed(alice, "user", account_id(mona))
    assert alice.delete(f"/api/me/reports/{withdrawn}").status_code == 200
    resolved = reports.filed(alice, "user", account_id(mona))
    assert reports.decide(root, resolved).status_code == 200


def decide(moderator: Browser, info_hash: str, decision: str) -> None:
    reply = moderator.post(
        f"/api/mod/torrents/{info_hash}/{decision}", json={"message": "Because."}
    )
    assert reply.status_code in {200, 409}, reply.text


def test_live_tables_equal_a_replay_in_any_batch_size(api: Api) -> None:
    head = api.log.head()
    assert head > 20
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        for projection in ALL:
            live = schema_of(projection)
            for limit in (1, 7, 50, 500):
                replayed = f"{live}__{limit}"
                engine.install(conn, projection, replayed)
                fill(conn, api.log, projection, replayed, upto=head, limit=limit)
                assert find_differences(conn, projection, live, replayed) == []
                assert digest_tables(conn, projection, live) == digest_tables(
                    conn, projection, replayed
                )


def test_every_read_model_holds_rows_so_that_equal_means_something(api: Api) -> None:
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        empty = [
            schema_of(projection)
            for projection in ALL
            if not any(
                conn.execute(f"SELECT FROM {schema_of(projection)}.{table} LIMIT 1").rowcount
                for table in projection.keys
            )
        ]
    assert empty == []


def test_a_lived_in_site_verifies_and_every_read_model_can_be_rebuilt(api: Api) -> None:
    policies = StandingPolicy(CreditPolicy())
    verifier = Verifier(api.app_url, api.log, ALL, policies, seed=1)
    before = verifier.verify()
    assert [check for check in before.checks if check.outcome != "equal"] == []
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        for projection in ALL:
            assert rebuild(conn, api.log, projection) == api.log.head()
    after = verifier.verify()
    assert [check.digest for check in after.checks] == [check.digest for check in before.checks]
