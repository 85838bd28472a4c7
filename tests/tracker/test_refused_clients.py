"""Client lists and banned addresses: refused with their own words, changed while it runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.announcer import Announcer
from tests.tracker.running_tracker import (
    Feed,
    account,
    body_of,
    eventually,
    general_key,
    request,
    running_tracker,
    torrent,
)
from tracker import wire
from tracker.banned_addresses import BannedAddresses
from tracker.protocol.refusals import Refusal
from tracker.rules import Rules, read_rules

# How the peer ids of clients in the field begin (BEP 20, and as captured from each).
WELCOME = ("-TR3000-", "-qB4520-", "-LT2110-", "-lt0D80-", "-DE203s-", "A2-1-36-0-")


def packed(text: str, length: int = 128, until: int = 0, *, active: bool = True) -> bytes:
    """A change of the feed about an address, IPv4 with a length of 128 bits too."""
    if ":" in text:
        network = socket.inet_pton(socket.AF_INET6, text)
    else:
        network = bytes(10) + b"\xff\xff" + socket.inet_aton(text)
    return wire.BANNED_ADDRESS.pack(length, network, until, active)


def banned(*changes: bytes) -> BannedAddresses:
    bans = BannedAddresses()
    for change in changes:
        bans.apply(wire.BannedAddress._make(wire.BANNED_ADDRESS.unpack(change)))
    return bans


def test_addresses_and_ranges_are_found_by_prefix() -> None:
    bans = banned(packed("203.0.113.0", 120), packed("198.51.100.7"), packed("2001:db8::", 32))
    v4, v6 = socket.inet_aton, lambda text: socket.inet_pton(socket.AF_INET6, text)
    for inside in (v4("203.0.113.255"), v4("198.51.100.7"), v6("2001:db8:ffff::1")):
        assert bans.covers(inside, 0)
    for outside in (v4("203.0.114.0"), v4("198.51.100.8"), v6("2001:db9::1"), v6("::1")):
        assert not bans.covers(outside, 0)
    # The same bits as another family's address are another address.
    assert not bans.covers(v4("203.0.113.1")[:4] + bytes(12), 0)
    assert len(bans) == 3


def test_a_ban_ends_and_is_lifted() -> None:
    address = socket.inet_aton("198.51.100.7")
    bans = banned(packed("198.51.100.7", until=100))
    assert bans.covers(address, 99)
    assert not bans.covers(address, 100)
    bans.apply(wire.BannedAddress(128, bytes(10) + b"\xff\xff" + address, 0, active=True))
    assert bans.covers(address, 10**9)
    for _ in range(2):
        bans.apply(wire.BannedAddress(128, bytes(10) + b"\xff\xff" + address, 0, active=False))
        assert not bans.covers(address, 0)
    assert len(bans) == 0


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(120, 128)), max_size=20), st.data())
def test_look_ups_agree_with_a_plain_search(
    networks: list[tuple[int, int]], data: st.DataObject
) -> None:
    plain = {(length, low >> (128 - length)) for low, length in networks}
    bans = banned(
        *(
            packed(f"10.0.0.{low >> (128 - length) << (128 - length)}", length)
            for low, length in networks
        )
    )
    low = data.draw(st.integers(0, 255))
    expected = any(low >> (128 - length) == prefix for length, prefix in plain)
    assert bans.covers(bytes((10, 0, 0, low)), 0) == expected


def outcome(announce: Callable[[], object]) -> str:
    try:
        announce()
    except Refusal as refusal:
        return refusal.code
    return "ok"


def named(tracker: Announcer, prefix: str, event: int = wire.EVENT_NONE) -> str:
    """Announce as a client whose peer id begins so."""
    return outcome(lambda: tracker.announce(peer=prefix.encode().ljust(20, b"x"), event=event))


@pytest.fixture
def tracker() -> Announcer:
    return Announcer()


def rules(**lists: list[str]) -> Rules:
    return read_rules(json.dumps(lists).encode(), Rules())


def test_without_lists_every_client_is_welcome(tracker: Announcer) -> None:
    assert {named(tracker, prefix) for prefix in (*WELCOME, "-XX", "\x01")} == {"ok"}


def test_denied_clients_are_refused(tracker: Announcer) -> None:
    tracker.access.rules = rules(deniedClients=["-XL", "-BC0152"])
    assert named(tracker, "-XL0012-") == named(tracker, "-BC0152-") == "client_denied"
    assert {named(tracker, prefix) for prefix in (*WELCOME, "-BC0153-", "xXL")} == {"ok"}


def test_with_a_list_of_allowed_clients_all_others_are_refused(tracker: Announcer) -> None:
    tracker.access.rules = rules(
        allowedClients=["-TR", "-qB", "-LT", "-lt", "-DE", "A2-"], deniedClients=["-TR2"]
    )
    assert {named(tracker, prefix) for prefix in WELCOME} == {"ok"}
    assert named(tracker, "-XX0100-") == "client_not_listed"
    assert named(tracker, "-TR2940-") == "client_denied"


def test_a_client_denied_later_may_still_leave(tracker: Announcer) -> None:
    assert named(tracker, "-XL0012-") == "ok"
    tracker.access.rules = replace(tracker.access.rules, denied_clients=(b"-XL",))
    assert named(tracker, "-XL0012-") == "client_denied"
    assert named(tracker, "-XL0099-", wire.EVENT_STOPPED) == "client_denied"
    assert named(tracker, "-XL0012-", wire.EVENT_STOPPED) == "ok"


@pytest.mark.parametrize("bad", ["-TR", [1], [""], ["x" * 21], ["\u20ac-"], {"a": 1}])
def test_bad_lists_leave_the_rules_as_they_are(bad: object) -> None:
    with pytest.raises(ValueError, match=r"deniedClients|latin-1"):
        read_rules(json.dumps({"deniedClients": bad}).encode(), Rules())


def test_banned_addresses_are_refused_whoever_announces(tracker: Announcer) -> None:
    tracker.access.banned = banned(packed("10.0.0.0", 120, until=tracker.now + 60))
    assert outcome(tracker.announce) == "address_banned"
    assert outcome(lambda: tracker.announce(address=b"\x0a\0\1\1")) == "ok"
    tracker.now += 60
    assert outcome(tracker.announce) == "ok"


def test_bans_and_lists_arrive_while_the_tracker_runs(redis_url: str) -> None:
    feed = Feed(redis_url)
    feed.redis.hset(
        wire.ACCESS_ADDRESSES,
        mapping={packed("::1")[:17]: packed("::1")[17:25]},
    )
    feed.redis.set(wire.ACCESS_RULES, b'{"deniedClients":["-ZZ"]}')
    feed.publish([account(1)], [torrent(10)])
    with running_tracker(redis_url) as tracker:

        def reason(host: str = "127.0.0.1") -> bytes:
            answer: bytes = tracker.announce(general_key(1), 10, host=host).get(
                b"failure reason", b""
            )
            return answer

        denied = b"Access denied: this address is banned."
        assert (reason(), reason("::1")) == (b"", denied)
        scrape = f"/scrape/{general_key(1)}?info_hash={'x' * 20}"
        assert body_of(request(tracker.port, scrape, "::1"))[b"failure reason"] == denied
        feed.change(wire.CHANGE_ADDRESS, packed("::1", active=False))
        feed.change(wire.CHANGE_ADDRESS, packed("127.0.0.0", 104))
        eventually(lambda: reason() == denied, "the ban did not arrive", 2)
        assert reason("::1") == b""
        feed.change(wire.CHANGE_RULES, b'{"deniedClients":["-XX01"]}')
        feed.change(wire.CHANGE_ADDRESS, packed("127.0.0.0", 104, active=False))
        eventually(
            lambda: reason() == b"This torrent client is not allowed here.",
            "the list did not arrive",
            2,
        )
        feed.change(wire.CHANGE_RULES, b'{"allowedClients":["-YY"]}')
        eventually(
            lambda: reason() == b"Only some torrent clients are allowed here.",
            "the list did not arrive",
            2,
        )
