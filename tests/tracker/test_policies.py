"""Each policy by itself: whom it refuses, in which words, and whom it lets pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tracker.announcer import Announcer
from tests.tracker.running_tracker import (
    FULL_RIGHTS,
    KID,
    PASSKEY_KEY,
    account,
    general_key,
    info_hash,
    torrent,
    torrent_key,
)
from tracker import wire
from tracker.access_table import NO_PROOF, AccessTable
from tracker.logic import Answer
from tracker.policies.ask import Ask
from tracker.policies.keys import KeyPolicy
from tracker.policies.pace import PacePolicy
from tracker.protocol.announce import AnnounceRequest
from tracker.protocol.passkeys import PasskeyCheck
from tracker.protocol.refusals import Refusal
from tracker.rules import Rules

INVALID = ("passkey_invalid", "Invalid passkey")
UNKNOWN = ("torrent_unknown", "Torrent not found or inactive")


@pytest.fixture
def tracker() -> Announcer:
    return Announcer()


def refusal(announce: Callable[[], Answer]) -> tuple[str, str]:
    """Code and text of a refusal that must come."""
    with pytest.raises(Refusal) as caught:
        announce()
    return caught.value.code, caught.value.text


def set_account(tracker: Announcer, entry: wire.AccountEntry) -> None:
    tracker.access.table.put_accounts(wire.pack_account(entry))


def set_torrent(tracker: Announcer, entry: wire.TorrentEntry) -> None:
    tracker.access.table.put_torrents(wire.pack_torrent(entry))


def test_key_is_required(tracker: Announcer) -> None:
    assert refusal(lambda: tracker.announce(passkey="")) == (
        "passkey_missing",
        "Passkey required",
    )


@pytest.mark.parametrize(
    "passkey",
    [
        "x",
        general_key(1).upper(),
        general_key(1)[:-1],
        general_key(1) + "0",
        "g" + general_key(1)[1:],
        general_key(1)[:-1] + ("0" if general_key(1)[-1] != "0" else "1"),
        general_key(2)[:8] + general_key(1)[8:],
        general_key(11),
        general_key(1, epoch=1),
        torrent_key(1, 11),
        f"{1:08x}" + NO_PROOF.hex(),
        "\xe4" * 32,
    ],
)
def test_wrong_keys_all_sound_the_same(tracker: Announcer, passkey: str) -> None:
    assert refusal(lambda: tracker.announce(passkey=passkey)) == INVALID
    # Nor once the right key has been seen.
    tracker.announce(1)
    assert refusal(lambda: tracker.announce(passkey=passkey)) == INVALID


def test_torrent_key_opens_its_torrent_only(tracker: Announcer) -> None:
    set_torrent(tracker, torrent(11))
    tracker.announce(passkey=torrent_key(1, 10))
    assert (
        refusal(lambda: tracker.announce(passkey=torrent_key(1, 10), hashed=info_hash(11)))
        == INVALID
    )
    tracker.announce(passkey=torrent_key(1, 10))


def test_kept_proof_is_forgotten_when_the_account_changes(tracker: Announcer) -> None:
    tracker.announce(1)
    tracker.announce(1)
    set_account(tracker, account(1, epoch=1))
    assert refusal(lambda: tracker.announce(1)) == INVALID
    tracker.announce(passkey=general_key(1, epoch=1))
    set_account(tracker, account(1)._replace(kid=KID + 1))
    assert refusal(lambda: tracker.announce(1)) == INVALID
    set_account(tracker, account(1))
    tracker.announce(1)
    # A full load brings another table.
    tracker.access.table = AccessTable()
    assert refusal(lambda: tracker.announce(1)) == INVALID


class CountingCheck(PasskeyCheck):
    """Counts how often keys are computed."""

    def __init__(self) -> None:
        super().__init__({KID: PASSKEY_KEY})
        self.computed = 0

    def scope(self, passkey: bytes, kid: int, epoch: int, torrent: int) -> int:
        self.computed += 1
        return super().scope(passkey, kid, epoch, torrent)


def test_wrong_keys_cost_the_same_whether_the_account_is_known(tracker: Announcer) -> None:
    check = CountingCheck()
    policy = KeyPolicy(tracker.access, check)
    wrong = general_key(9_999)[8:]
    for number in (1, 2, 11, 5_000, 2**32 - 1):
        with pytest.raises(Refusal):
            policy(ask(tracker, passkey=f"{number:08x}{wrong}"))
    assert check.computed == 5
    for _ in range(3):
        policy(ask(tracker, passkey=general_key(1)))
    assert check.computed == 6
    with pytest.raises(Refusal):
        policy(ask(tracker, passkey=f"{1:08x}{wrong}"))
    assert check.computed == 7


def ask(
    tracker: Announcer,
    *,
    passkey: str = "",
    member: int = 0,
    event: int = wire.EVENT_NONE,
    address: bytes = bytes(4),
) -> Ask:
    request = AnnounceRequest(
        info_hash(10), bytes(20), 5000, 0, 0, 0, event, -1, b"", True, False, b""
    )
    found = Ask(request, passkey.encode(), address, access=tracker.access, now=tracker.now)
    found.account = member
    return found


def test_banned_member_is_refused(tracker: Announcer) -> None:
    set_account(tracker, account(1, flags=wire.ACCOUNT_MAY_DOWNLOAD))
    assert refusal(lambda: tracker.announce(1)) == ("account_banned", "User is banned")
    assert refusal(lambda: tracker.announce(1, event=wire.EVENT_STOPPED))[0] == "account_banned"
    set_account(tracker, account(1))
    tracker.announce(1)


def test_only_accepted_torrents_are_everyones(tracker: Announcer) -> None:
    assert refusal(lambda: tracker.announce(hashed=bytes(20))) == UNKNOWN
    set_torrent(tracker, torrent(11, wire.TORRENT_PENDING, uploader=2))
    assert refusal(lambda: tracker.announce(1, hashed=info_hash(11))) == UNKNOWN
    tracker.announce(2, hashed=info_hash(11))
    set_torrent(tracker, torrent(11, wire.TORRENT_CLOSED, uploader=2))
    assert refusal(lambda: tracker.announce(2, hashed=info_hash(11))) == UNKNOWN


def test_client_in_a_closed_torrent_may_say_that_it_stops(tracker: Announcer) -> None:
    tracker.announce(1, "a")
    set_torrent(tracker, torrent(10, wire.TORRENT_CLOSED))
    stopped = wire.EVENT_STOPPED
    assert refusal(lambda: tracker.announce(1, "b", event=stopped)) == UNKNOWN
    assert refusal(lambda: tracker.announce(2, "a", event=stopped)) == UNKNOWN
    assert refusal(lambda: tracker.announce(1, "a")) == UNKNOWN
    tracker.announce(1, "a", up=9, event=stopped)
    assert (tracker.sink.records[-1].up, tracker.swarms.peers) == (9, 0)


def test_both_hashes_of_a_hybrid_lead_to_one_torrent(tracker: Announcer) -> None:
    alias = b"v2 hash, cut short.."
    set_torrent(tracker, torrent(10, alias=alias))
    tracker.announce(1, left=1)
    answer = tracker.announce(1, left=1, hashed=alias)
    assert (answer.reply.complete, answer.reply.incomplete) == (0, 1)
    other = tracker.announce(2, "b", left=1, port=5001, hashed=alias)
    assert other.reply.peers4 == b"\x0a\x00\x00\x01" + (5000).to_bytes(2, "big")
    assert {record.torrent for record in tracker.sink.records} == {10}


def test_without_the_right_to_download_only_seeding_goes_on(tracker: Announcer) -> None:
    set_account(tracker, account(1, flags=wire.ACCOUNT_MAY_ANNOUNCE))
    refused = ("download_disabled", "Low ratio. Download disabled.")
    assert refusal(lambda: tracker.announce(1, left=1)) == refused
    assert refusal(lambda: tracker.announce(1, left=wire.UNKNOWN_LEFT)) == refused
    assert refusal(lambda: tracker.announce(1, left=1, event=wire.EVENT_COMPLETED)) == refused
    tracker.announce(1, left=1, event=wire.EVENT_STOPPED)
    tracker.announce(1, left=0)
    set_account(tracker, account(1, flags=FULL_RIGHTS))
    tracker.announce(1, left=1)


def test_ports_of_victims_are_refused(tracker: Announcer) -> None:
    assert refusal(lambda: tracker.announce(port=25)) == (
        "port_refused",
        "This port is not allowed, choose another in your client.",
    )
    tracker.announce(port=1)


def test_pace_counts_by_member_and_address_or_ipv6_network(tracker: Announcer) -> None:
    tracker.access.rules = Rules(announces_per_minute=3)
    policy = PacePolicy(lambda account: 0)
    network = bytes(range(8))
    for place in range(3):
        policy(ask(tracker, member=1, address=network + bytes((place,)) * 8))
    with pytest.raises(Refusal) as caught:
        policy(ask(tracker, member=1, address=network + bytes(8)))
    assert (caught.value.code, caught.value.text, caught.value.retry_minutes) == (
        "too_many",
        "Too many announces, slow down.",
        1,
    )
    policy(ask(tracker, member=2, address=network + bytes(8)))
    policy(ask(tracker, member=1, address=bytes(16)))
    policy(ask(tracker, member=1, address=bytes(4)))


def test_stop_and_completion_pass_whatever_the_pace(tracker: Announcer) -> None:
    tracker.access.rules = Rules(announces_per_minute=3)
    policy = PacePolicy(lambda account: 1)
    for _ in range(4):
        policy(ask(tracker, member=1))
    for event in (wire.EVENT_STOPPED, wire.EVENT_COMPLETED) * 50:
        policy(ask(tracker, member=1, event=event))
    with pytest.raises(Refusal):
        policy(ask(tracker, member=1, event=wire.EVENT_STARTED))
    # They used nothing up: in 20 seconds there is room for one more.
    tracker.now += 20
    policy(ask(tracker, member=1))
    with pytest.raises(Refusal):
        policy(ask(tracker, member=1))


def test_pace_follows_the_rules_at_once(tracker: Announcer) -> None:
    policy = PacePolicy(lambda account: 0)
    for rate in (1, 60, 2):
        tracker.access.rules = Rules(announces_per_minute=rate)
        for _ in range(rate):
            policy(ask(tracker, member=1))
        with pytest.raises(Refusal):
            policy(ask(tracker, member=1))
    tracker.access.rules = Rules(announces_per_minute=0)
    for _ in range(1_000):
        policy(ask(tracker, member=1))


def test_pace_remembers_a_bounded_number_of_callers(tracker: Announcer) -> None:
    policy = PacePolicy(lambda account: 0)
    tracker.access.rules = Rules(announces_per_minute=1)
    busy = ask(tracker, member=2**32 - 1)
    for number in range(70_000):
        if number % 10_000 == 0:
            tracker.now += 61
            busy.now = tracker.now
            policy(busy)
        policy(ask(tracker, member=number))
    assert len(policy) <= 65_536
    with pytest.raises(Refusal):
        policy(busy)
