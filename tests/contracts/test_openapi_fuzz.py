"""Any request the document allows, and many it forbids, in each role: no fault, no surprise."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from application.sessions import TOKEN_SIZE, OpenSession, token_hash
from application.site import ChangeSettings
from interfaces.http.app import api_document
from interfaces.http.cookies import COOKIE
from interfaces.http.openapi import operations
from tests.kit.accounts import account_id, administrator, member, moderator
from tests.kit.api import Api, running_api
from tests.kit.browser import Browser
from tests.kit.forum import answered, category, started
from tests.kit.servers import Database, TestServers, flush
from tests.kit.torrents import accepted, uploaded
from tests.kit.verified import require_verified

EXAMPLES: Final = 60 if os.environ.get("TRACKARR_NIGHTLY") == "1" else 6
DOCUMENT: Final = api_document("0")
OPERATIONS: Final = [(method, path) for path, method, _ in operations(DOCUMENT)]
SCHEMA: Final = schemathesis.openapi.from_dict(DOCUMENT)
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ROLES: Final = ("administrator", "member", "anonymous")


@dataclass
class Site:
    """A site with something at every address, and who asks there."""

    api: Api
    accounts: dict[str, UUID]
    known: dict[str, list[str]]
    client: Any

    def cookie(self, role: str) -> dict[str, str]:
        """A new session of the role, as an operation before may have ended the last one."""
        if role not in self.accounts:
            return {}
        token = self.api.services.entropy.token(TOKEN_SIZE)
        self.api.dispatch(
            OpenSession(
                account=self.accounts[role],
                session=self.api.services.entropy.uuid(),
                token_hash=token_hash(token),
                method="password",
            )
        )
        return {COOKIE: self.api.services.cookie.seal(token)}

    def known_at(self, path: str) -> dict[str, list[str]]:
        """For each variable of the address, what is really there; empty where nothing is known."""
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        found = {name: self._values(path, name) for name in names}
        return found if all(found.values()) else {}

    def _values(self, path: str, name: str) -> list[str]:
        if name != "id":
            return self.known[name]
        return self.known.get(path.partition("/{id}")[0].rpartition("/")[2], [])


@pytest.fixture(scope="module")
def site(servers: TestServers, with_read_models: Database) -> Iterator[Site]:
    flush(servers.redis_url)
    with (
        servers.database(like=with_read_models) as database,
        running_api(database.app_url, servers.redis_url) as api,
    ):
        founded = _founded(api)
        with asgi.get_client(api.app, max_stream_events=1) as founded.client:
            yield founded
        require_verified(api)


def _founded(api: Api) -> Site:
    admin, mona = administrator(api), moderator(api, "mona")
    alice, bob = member(api, "alice"), member(api, "bob")
    api.dispatch(ChangeSettings(changes={"inviteEnabled": True}))
    role = admin.post("/api/admin/roles", json={"name": "Curators", "color": "#336699"})
    assert role.status_code == 200, role.text
    invite = alice.post("/api/invites")
    assert invite.status_code == 200, invite.text
    assert bob.log_in("bob").status_code == 200
    known = {
        "users": [str(account_id(bob)), str(account_id(mona))],
        "sessions": [session["id"] for session in _sessions(bob)],
        "roles": [role.json()["id"]],
        "roleId": [role.json()["id"]],
        "invites": [invite.json()["invite"]["id"]],
        "info_hash": [accepted(mona, alice), uploaded(alice, "Walden")["infoHash"]],
        "ip": ["203.0.113.7"],
        **_written(admin, alice, bob),
    }
    accounts = {"administrator": account_id(admin), "member": account_id(alice)}
    return Site(api, accounts, known, None)


def _written(admin: Browser, alice: Browser, bob: Browser) -> dict[str, list[str]]:
    """Comments and a forum: by the member who asks, and by another."""
    place = category(admin)
    topics = [started(each, place, "Hello", "first") for each in (alice, bob)]
    posts = [answered(each, topics[1]["id"], "answer")["id"] for each in (alice, bob)]
    below = f"/api/torrents/{accepted(admin, alice, 'Commented')}/comments"
    comments = [each.post(below, json={"content": "Thanks!"}).json() for each in (alice, bob)]
    return {
        "categories": [place],
        "topics": [topic["id"] for topic in topics],
        "posts": [*posts, topics[0]["firstPost"]["id"]],
        "comments": [comment["id"] for comment in comments],
    }


def _sessions(browser: Browser) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.get("/api/me/sessions").json()["sessions"]
    return found


def _in_time(call: Callable[[], Response]) -> Response:
    """The answer, asked for again where the read models need longer: machines may be slow."""
    reply = call()
    for _ in range(10):
        if reply.status_code != 503 or "retry-after" not in reply.headers:
            break
        time.sleep(1)
        reply = call()
    return reply


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_declared(site: Site, role: str, method: str, path: str) -> None:
    operation = SCHEMA[path][method.upper()]
    strategies = [operation.as_strategy(mode) for mode in GenerationMode]
    known = site.known_at(path)
    if known:
        places = st.fixed_dictionaries({name: st.sampled_from(known[name]) for name in known})
        strategies.insert(0, places.flatmap(lambda at: operation.as_strategy(path_parameters=at)))
    cookie = site.cookie(role)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        # The site changes under the requests, so a smaller one need not fail in the same way.
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(strategies))
    def ask(case: Case) -> None:
        reply = _in_time(lambda: case.call(session=site.client, cookies=cookie))
        case.validate_response(reply, checks=CHECKS)

    ask()
