"""Contract of the announce key on `/api/auth/passkey`: shown, replaced, refused by the tracker."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from application.bus import Actor, Bus
from application.handlers import HANDLERS, TAKEN
from application.users import RotateAnnounceKey
from domain.passkeys import AnnounceKeyRotatedMeanwhile
from domain.users import evolve
from interfaces.access_feed import AccessPublisher, PublishAccessAfterCommit
from interfaces.http.app import create_app
from interfaces.http.rate_limits import RateLimiter
from projections.read_your_writes import ReadYourWrites
from projections.registry import ALL
from tests.kit.accounts import account_id
from tests.kit.api import Api, SystemEntropy
from tests.kit.browser import Browser
from tests.kit.torrents import accepted
from tests.tracker.running_tracker import (
    RunningTracker,
    body_of,
    escape,
    eventually,
    request,
    running_tracker,
)

PATH = "/api/auth/passkey"
TOPIC = "account.announce_key_rotated.1"
CONFIRM = {"confirm": True}


def rotate(browser: Browser, **options: Any) -> Any:
    return browser.post(PATH, json=CONFIRM, **options)


def key_of(browser: Browser) -> str:
    return str(browser.get(PATH).json()["passkey"])


def epoch_of(api: Api, account: UUID) -> int:
    state = api.log.load(account, evolve)
    assert state is not None
    return state.announce_epoch


def test_a_member_sees_his_key_and_where_his_client_announces(alice: Browser) -> None:
    shown = alice.get(PATH).json()
    key = shown["passkey"]
    assert re.fullmatch(r"[0-9a-f]{32}", key)
    assert shown["announceUrl"] == f"http://localhost:8080/announce/{key}"
    assert shown["announceUrls"][0] == shown["announceUrl"]
    assert "challenge" in shown


def test_rotating_gives_another_key_and_says_so(api: Api, alice: Browser, mona: Browser) -> None:
    before, others = key_of(alice), key_of(mona)
    reply = rotate(alice)
    assert reply.status_code == 200, reply.text
    made = reply.json()
    assert made["passkey"] not in {before, others}
    assert made["announceUrl"].endswith(made["passkey"])
    assert key_of(alice) == made["passkey"]
    assert key_of(mona) == others
    assert api.topics().count(TOPIC) == 1
    assert alice.get("/api/me").status_code == 200
    assert before not in reply.text


def test_only_a_member_rotates_his_key(api: Api, anonymous: Browser, alice: Browser) -> None:
    assert rotate(anonymous).status_code == 401
    assert TOPIC not in api.topics()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"confirm": False},
        {"confirm": "yes"},
        {"confirm": None},
        {"confirm": True, "response": {"id": "x"}},
        [],
    ],
)
def test_a_bad_body_rotates_nothing(api: Api, alice: Browser, body: object) -> None:
    assert alice.post(PATH, json=body).status_code == 400
    assert TOPIC not in api.topics()


def test_a_repeated_request_rotates_once(api: Api, alice: Browser) -> None:
    once = {"headers": {"idempotency-key": "one"}}
    first, again = rotate(alice, **once), rotate(alice, **once)
    assert first.json() == again.json()
    assert api.topics().count(TOPIC) == 1
    assert rotate(alice).json() != first.json()


def test_rotating_counts_as_a_change_and_not_as_a_sign_in(api: Api, alice: Browser) -> None:
    limiter = RateLimiter(api.redis, b"k" * 32, lambda: 10)
    services = replace(api.services, limiter=limiter)
    counted = replace(api, app=create_app(services), services=services).browser()
    counted.client.cookies.update(alice.client.cookies)
    assert [rotate(counted).status_code for _ in range(11)] == [200] * 10 + [429]


def test_of_requests_at_once_each_success_is_one_new_key(api: Api, alice: Browser) -> None:
    browsers = [api.browser() for _ in range(8)]
    for browser in browsers:
        browser.client.cookies.update(alice.client.cookies)
    barrier = Barrier(len(browsers))

    def run(browser: Browser) -> Any:
        barrier.wait()
        return rotate(browser)

    with ThreadPoolExecutor(len(browsers)) as threads:
        replies = list(threads.map(run, browsers))
    keys = [reply.json()["passkey"] for reply in replies if reply.status_code == 200]
    refused = [reply for reply in replies if reply.status_code != 200]
    assert {(r.status_code, r.json()["data"]["code"]) for r in refused} <= {
        (409, "announce_key_rotated_meanwhile")
    }
    assert len(set(keys)) == len(keys) == api.topics().count(TOPIC) >= 1
    assert epoch_of(api, account_id(alice)) == 1 + len(keys)
    assert key_of(alice) in keys


def test_of_many_who_saw_one_key_exactly_one_replaces_it(api: Api, alice: Browser) -> None:
    account = account_id(alice)
    actor = Actor(account=account, number=2, username="alice")
    barrier = Barrier(6)

    def run(_number: int) -> int | None:
        barrier.wait()
        try:
            return int(api.dispatch(RotateAnnounceKey(seen=1), actor))
        except AnnounceKeyRotatedMeanwhile:
            return None

    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(run, range(6)))
    assert sorted(made, key=bool) == [None] * 5 + [2]
    assert (epoch_of(api, account), api.topics().count(TOPIC)) == (2, 1)


def downloaded_key(browser: Browser, info_hash: str) -> str:
    content = browser.get(f"/api/torrents/{info_hash}/download").content
    found = re.search(rb"/announce/([0-9a-f]{32})", content)
    assert found is not None
    return found[1].decode()


def failure(tracker: RunningTracker, key: str, info_hash: str) -> bytes:
    """Why the tracker refuses an announce with this key; empty when it does not."""
    query = {
        "info_hash": escape(bytes.fromhex(info_hash)),
        "peer_id": "-XX0100-abcdefghijkl",
        "port": 5001,
        "uploaded": 0,
        "downloaded": 0,
        "left": 0,
    }
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    answer = body_of(request(tracker.port, f"/announce/{key}?{asked}"))
    return bytes(answer.get(b"failure reason", b""))


def test_the_tracker_refuses_the_key_before_within_a_second(
    api: Api, alice: Browser, mona: Browser, redis_url: str
) -> None:
    publisher = AccessPublisher(api.redis, api.services.reads, SystemEntropy())
    step = ReadYourWrites(api.services.reads, api.log, ALL, wake=lambda: None)
    told = PublishAccessAfterCommit(step, publisher)
    services = replace(api.services, bus=Bus(api.log, HANDLERS, after_commit=told, taken=TAKEN))
    browser = replace(api, app=create_app(services), services=services).browser()
    browser.client.cookies.update(alice.client.cookies)
    info_hash = accepted(mona, alice)
    # A busy machine may leave the read model behind the approval, and there is no worker here.
    assert step.catch_up(api.log.head(), 20.0) == ()
    assert publisher.publish()
    keys = api.log.keyring.materials("passkeys")
    with running_tracker(redis_url, passkey_keys=keys) as tracker:
        before = (key_of(browser), downloaded_key(browser, info_hash))
        assert [failure(tracker, key, info_hash) for key in before] == [b"", b""]
        rotated = rotate(browser)
        if "x-stale" in rotated.headers:
            assert step.catch_up(api.log.head(), 20.0) == ()
            assert publisher.publish()
        new = rotated.json()["passkey"]
        eventually(
            lambda: all(failure(tracker, key, info_hash) for key in before), "still let in", 1.0
        )
        assert failure(tracker, before[0], info_hash).lower().startswith(b"invalid passkey")
        after = (new, downloaded_key(browser, info_hash))
        assert [failure(tracker, key, info_hash) for key in after] == [b"", b""]
