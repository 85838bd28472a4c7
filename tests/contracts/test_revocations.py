"""Two api processes: what one of them takes from a session, the other knows with the next request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from redis import Redis

from application.bus import Bus
from application.handlers import HANDLERS, TAKEN
from application.sessions import Sessions
from interfaces.http.app import create_app
from interfaces.revocations import RevocationListener, Revocations, RevokeAfterCommit
from projections.read_your_writes import ReadYourWrites
from projections.registry import ALL
from tests.contracts.test_passwords import change
from tests.kit.accounts import account_id
from tests.kit.api import Api, SystemEntropy
from tests.kit.browser import Browser

ME = "/api/me"


@dataclass
class Process:
    """An api process that believes what it remembers for as long as it is not told otherwise."""

    api: Api
    sessions: Sessions
    revocations: Revocations
    listener: RevocationListener


@pytest.fixture
def processes(api: Api) -> Iterator[tuple[Process, Process]]:
    stop = threading.Event()
    made = process(api), process(api)
    threads = [threading.Thread(target=each.listener.run, args=(stop,)) for each in made]
    for thread in threads:
        thread.start()
    for each in made:
        assert each.listener.listening.wait(10)
    yield made
    stop.set()
    for thread in threads:
        thread.join(10)


def process(api: Api) -> Process:
    sessions = Sessions(api.log, monotonic=lambda: 0.0)
    revocations = Revocations(api.redis, SystemEntropy())
    step = ReadYourWrites(api.services.reads, api.log, ALL, wake=lambda: None)
    bus = Bus(api.log, HANDLERS, after_commit=RevokeAfterCommit(step, revocations), taken=TAKEN)
    services = replace(api.services, sessions=sessions, bus=bus)
    own = replace(api, app=create_app(services), services=services, bus=bus)
    return Process(own, sessions, revocations, RevocationListener(api.redis, sessions))


def carried(browser: Browser, to: Process) -> Browser:
    """The same browser, whose requests reach the other process."""
    other = to.api.browser()
    other.client.cookies.update(browser.client.cookies)
    return other


def ban(admin: Browser, alice: Browser) -> None:
    path = f"/api/admin/users/{account_id(alice)}/ban"
    assert admin.post(path, json={"reason": "spam"}).status_code == 200


def end_session(_admin: Browser, alice: Browser) -> None:
    assert alice.post("/api/auth/logout").status_code == 200


def change_password(_admin: Browser, alice: Browser) -> None:
    assert alice.put("/api/auth/password", json=change(alice)).status_code == 200


@pytest.mark.parametrize("revoke", [ban, end_session, change_password])
def test_a_session_ended_in_one_process_is_over_in_the_other(
    processes: tuple[Process, Process],
    admin: Browser,
    alice: Browser,
    revoke: Callable[[Browser, Browser], None],
) -> None:
    here, there = processes
    elsewhere = carried(alice, there)
    assert elsewhere.get(ME).status_code == 200
    revoke(carried(admin, here), carried(alice, here))
    assert elsewhere.get(ME).status_code == 401


def test_a_role_acts_in_the_other_process_when_given_and_when_taken(
    processes: tuple[Process, Process], admin: Browser, alice: Browser
) -> None:
    here, there = processes
    elsewhere, root = carried(alice, there), carried(admin, here)
    path = f"/api/admin/users/{account_id(alice)}/roles"
    queue = "/api/admin/banned-ips"
    assert elsewhere.get(queue).status_code == 403
    assert root.post(path, json={"roleId": "moderator"}).status_code == 200
    assert elsewhere.get(queue).status_code == 200
    assert root.delete(f"{path}/moderator").status_code == 200
    assert elsewhere.get(queue).status_code == 403


def test_a_demanded_factor_acts_in_the_other_process(
    processes: tuple[Process, Process], admin: Browser, alice: Browser
) -> None:
    here, there = processes
    elsewhere = carried(alice, there)
    assert elsewhere.get(ME).status_code == 200
    changed = carried(admin, here).put("/api/admin/settings", json={"require2FAScope": "all"})
    assert changed.status_code == 200, changed.text
    assert elsewhere.get(ME).json()["data"]["code"] == "second_factor_required"


def test_a_change_that_takes_nothing_from_anybody_is_not_told(
    processes: tuple[Process, Process], alice: Browser
) -> None:
    here, there = processes
    elsewhere = carried(alice, there)
    elsewhere.get(ME)
    before = len(there.sessions._cache)
    assert carried(alice, here).patch(ME, json={"bio": "I seed."}).status_code == 200
    assert len(there.sessions._cache) == before > 0


def test_without_redis_the_change_is_made_and_the_miss_counted(
    processes: tuple[Process, Process], admin: Browser, alice: Browser
) -> None:
    here, _there = processes
    here.revocations._redis = Redis(port=1)
    end_session(admin, carried(alice, here))
    assert here.revocations.failures == 1


def test_who_does_not_hear_in_time_is_not_waited_for(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = processes
    assert here.revocations.announce()
    monkeypatch.setattr(there.listener, "_confirm", lambda _word: None)
    assert not here.revocations.announce()
    assert here.revocations.failures == 1
