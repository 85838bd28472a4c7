"""Two api processes: what one of them takes from a session, the other knows with the next request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis import Redis

from application.bus import Bus
from application.handlers import HANDLERS, TAKEN
from application.ports import Appended
from application.sessions import Sessions
from domain.sessions import SessionClosed
from interfaces.http.app import create_app
from interfaces.revocations import (
    CHANNEL,
    PATIENCE,
    RevocationListener,
    Revocations,
    RevokeAfterCommit,
)
from projections.read_your_writes import ReadYourWrites
from projections.registry import ALL
from tests.contracts.test_passwords import change
from tests.kit.accounts import account_id
from tests.kit.api import Api, SystemEntropy
from tests.kit.browser import Browser

ME = "/api/me"
DEAF = 8
REVOKED = Appended(first=1, last=1, topics=frozenset({SessionClosed.TOPIC}))


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


@pytest.fixture
def deaf(api: Api) -> Iterator[None]:
    """Processes that listen, and do not get round to hearing."""
    with ExitStack() as held:
        for _ in range(DEAF):
            listening = held.enter_context(api.redis.pubsub())  # type: ignore[no-untyped-call]
            listening.subscribe(CHANNEL)
            assert listening.get_message(timeout=10)
        yield


def test_many_that_do_not_hear_are_waited_for_once(api: Api, deaf: None) -> None:
    revocations = Revocations(api.redis, SystemEntropy())
    began = time.monotonic()
    assert not revocations.announce()
    assert time.monotonic() - began < PATIENCE * DEAF / 2
    assert revocations.failures == 1


def test_all_that_hear_share_one_deadline(api: Api, deaf: None) -> None:
    """Each is heard of in time for its own wait, all of them together are not."""
    revocations = Revocations(api.redis, SystemEntropy())
    told = revocations.tell()
    assert told is not None
    assert told.listeners == DEAF
    enough = threading.Event()

    def hear() -> None:
        for _ in range(DEAF):
            if enough.wait(PATIENCE * 0.7):
                return
            api.redis.rpush(f"sessions:heard:{told.word}", 1)

    slow = threading.Thread(target=hear)
    slow.start()
    began = time.monotonic()
    try:
        assert not revocations.await_heard(told)
        assert time.monotonic() - began < PATIENCE * DEAF / 2
    finally:
        enough.set()
        slow.join(10)


def test_trackers_are_told_before_anybody_is_waited_for(api: Api, deaf: None) -> None:
    revocations = Revocations(api.redis, SystemEntropy())
    missed: list[int] = []

    def publish(appended: Appended) -> tuple[str, ...]:
        missed.append(revocations.failures)
        return ("access_feed",)

    assert RevokeAfterCommit(publish, revocations)(REVOKED) == ("access_feed",)
    assert (missed, revocations.failures) == ([0], 1)


def test_others_have_heard_even_where_the_read_models_fail(
    processes: tuple[Process, Process],
) -> None:
    here, there = processes
    waited: list[bool] = []
    wait = here.revocations.await_heard

    def fail(appended: Appended) -> tuple[str, ...]:
        raise RuntimeError("away")

    def await_heard(told: Any) -> bool:
        waited.append(wait(told))
        return waited[-1]

    here.revocations.await_heard = await_heard  # type: ignore[method-assign]
    there.sessions._cache["x"] = (0.0, object())  # type: ignore[assignment]
    with pytest.raises(RuntimeError):
        RevokeAfterCommit(fail, here.revocations)(REVOKED)
    assert waited == [True]
    assert there.sessions._cache == {}
