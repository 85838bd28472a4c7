"""Announces through policies, swarm and record, with time and chance in the test's hand."""

from __future__ import annotations

import pytest

from tests.tracker.announcer import Announcer
from tests.tracker.running_tracker import info_hash, peer_id, torrent
from tracker import wire
from tracker.access_table import AccessTable
from tracker.logic import Answer
from tracker.protocol.announce import NUMWANT_DEFAULT
from tracker.protocol.refusals import Refusal
from tracker.rules import Rules, read_rules
from tracker.swarms import Swarms
from tracker.tail import apply_record


@pytest.fixture
def tracker() -> Announcer:
    return Announcer()


def flags(tracker: Announcer) -> list[int]:
    return [record.flags for record in tracker.sink.records]


def test_older_totals_within_a_minute_are_late_and_change_nothing(tracker: Announcer) -> None:
    tracker.announce(up=100, down=50, left=10)
    tracker.announce(up=300, down=90, left=0)
    tracker.now += 59
    answer = tracker.announce(up=100, down=50, left=10)
    assert flags(tracker) == [0, 0, wire.FLAG_LATE]
    assert (answer.reply.complete, answer.reply.incomplete) == (1, 0)
    # The highest totals stay the measure.
    tracker.announce(up=200, down=90)
    assert flags(tracker)[-1] == wire.FLAG_LATE


@pytest.mark.parametrize(
    "change",
    [
        {"key": b"other"},
        {"event": wire.EVENT_STARTED},
        {"event": wire.EVENT_STOPPED},
        {"name": "b", "port": 5001},
        {"up": 300},
    ],
)
def test_what_is_not_late(tracker: Announcer, change: dict[str, object]) -> None:
    tracker.announce(up=300)
    given: dict[str, object] = {"up": 100, **change}
    tracker.announce(**given)  # type: ignore[arg-type]
    assert flags(tracker) == [0, 0]


def test_fall_after_a_minute_is_not_late(tracker: Announcer) -> None:
    tracker.announce(up=300)
    tracker.now += 60
    tracker.announce(up=100)
    assert flags(tracker) == [0, 0]


def test_seeders_get_leechers_only_and_nobody_himself(tracker: Announcer) -> None:
    tracker.announce(1, "s1", port=5001)
    tracker.announce(2, "s2", port=5002)
    leecher = tracker.announce(3, "l1", port=5003, left=1)
    seeder = tracker.announce(1, "s1", port=5001)
    other = tracker.announce(4, "l2", port=5004, left=wire.UNKNOWN_LEFT)
    assert ports(leecher) == {5001, 5002}
    assert ports(seeder) == {5003}
    assert ports(other) == {5001, 5002, 5003}
    assert (other.reply.complete, other.reply.incomplete) == (2, 2)


def ports(answer: Answer) -> set[int]:
    raw = answer.reply.peers4
    return {int.from_bytes(raw[i + 4 : i + 6], "big") for i in range(0, len(raw), 6)}


def test_nobody_is_dropped_before_the_rules_are_known(tracker: Announcer) -> None:
    """A site's longer interval lets peers be silent for longer than the rules at a start do."""
    tracker.announce()
    tracker.access.loaded = False
    tracker.now += Rules().peer_life + 120
    tracker.logic.expire()
    assert tracker.swarms.peers == 1
    tracker.access.rules, tracker.access.loaded = Rules(interval=3600), True
    tracker.logic.expire()
    assert tracker.swarms.peers == 1
    tracker.now += Rules(interval=3600).peer_life
    tracker.logic.expire()
    assert tracker.swarms.peers == 0


def test_numwant_is_bounded(tracker: Announcer) -> None:
    tracker.access.rules = Rules(numwant_default=2, numwant_max=3)
    for number in range(1, 8):
        tracker.announce(number, f"n{number}", port=5000 + number, left=1)
    wanted = {NUMWANT_DEFAULT: 2, 0: 0, 1: 1, 3: 3, 9: 3}
    for numwant, given in wanted.items():
        assert len(ports(tracker.announce(8, "x", left=1, numwant=numwant))) == given
    stopped = tracker.announce(8, "x", left=1, event=wire.EVENT_STOPPED, numwant=9)
    assert ports(stopped) == set()
    assert stopped.reply.incomplete == 7


def test_interval_varies_and_is_recorded(tracker: Announcer) -> None:
    for roll, interval in ((0.0, 1620), (0.5, 1800), (0.9999, 1979)):
        tracker.roll = roll
        assert tracker.announce().reply.interval == interval
        assert tracker.sink.records[-1].interval == interval
    tracker.access.rules = Rules(interval=100)
    assert tracker.announce().reply.min_interval == tracker.sink.records[-1].interval


def test_silent_peer_is_dropped_with_its_last_totals(tracker: Announcer) -> None:
    tracker.announce(up=7, down=8, left=9)
    tracker.now += 3899
    tracker.logic.expire()
    assert len(tracker.sink.records) == 1
    tracker.now += 61
    tracker.sink.accepting = False
    tracker.logic.expire()
    assert len(tracker.sink.records) == 1
    tracker.sink.accepting = True
    tracker.logic.expire()
    expired = tracker.sink.records[-1]
    assert expired.event == wire.EVENT_EXPIRED
    assert (expired.up, expired.down, expired.left) == (7, 8, 9)
    assert expired.address == bytes(10) + b"\xff\xff\x0a\x00\x00\x01"
    assert expired.at == tracker.now * 1_000_000


def test_nothing_is_taken_while_nothing_can_be_recorded(tracker: Announcer) -> None:
    tracker.sink.accepting = False
    with pytest.raises(Refusal) as caught:
        tracker.announce()
    assert caught.value.retry_minutes == 1
    assert tracker.swarms.peers == 0


def test_seat_of_a_client_beyond_its_interval_is_given_away(tracker: Announcer) -> None:
    for number in range(4):
        tracker.announce(1, f"c{number}", port=5000 + number)
        tracker.now += 1
    tracker.now += 1796
    with pytest.raises(Refusal) as caught:
        tracker.announce(1, "c4", port=5004)
    assert caught.value.code == "seats_taken"
    tracker.announce(2, "d", port=5005)
    tracker.now += 1
    assert tracker.announce(1, "c4", port=5004).reply.complete == 5
    gone = [r.peer for r in tracker.sink.records if r.event == wire.EVENT_EXPIRED]
    assert gone == [peer_id("c0")]


def test_flood_recovers_with_time_and_new_torrents_raise_the_limit(tracker: Announcer) -> None:
    tracker.access.rules = Rules(announces_per_minute=60)
    for number in range(2, 30):
        tracker.access.table.put_torrents(wire.pack_torrent(torrent(number * 100)))
    for _ in range(61):
        tracker.announce()
    with pytest.raises(Refusal) as caught:
        tracker.announce()
    assert caught.value.code == "too_many"
    tracker.announce(address=b"\x0a\x00\x00\x02")
    tracker.announce(2)
    tracker.now += 2
    tracker.announce()
    tracker.announce()
    with pytest.raises(Refusal):
        tracker.announce()


def test_record_stream_rebuilds_the_same_swarm(tracker: Announcer) -> None:
    tracker.announce(1, "a", up=5, left=3)
    tracker.announce(1, "a", up=5, left=3, address=bytes(15) + b"\x01")
    tracker.announce(1, "a", up=4, left=3)
    tracker.announce(2, "b", port=5001, left=1)
    tracker.announce(2, "b", port=5001, left=0, event=wire.EVENT_COMPLETED)
    tracker.announce(3, "c", port=5002, left=1)
    tracker.announce(3, "c", port=5002, left=1, event=wire.EVENT_STOPPED)
    rebuilt = Swarms(tracker.swarms.life)
    for record in tracker.sink.records:
        apply_record(rebuilt, record)
    before, after = tracker.swarms.find(10), rebuilt.find(10)
    assert before is not None
    assert after is not None
    assert (after.seeders, after.leechers) == (before.seeders, before.leechers) == (1, 1)
    for client in ((1, peer_id("a")), (2, peer_id("b"))):
        assert after.peer(after.find(*client)) == before.peer(before.find(*client))
        assert after.endpoints(after.find(*client)) == before.endpoints(before.find(*client))


def test_closed_torrent_gives_its_hash_to_a_new_upload() -> None:
    table = AccessTable()
    closed = torrent(10, wire.TORRENT_CLOSED)
    table.put_torrents(wire.pack_torrent(torrent(10)))
    table.put_torrents(wire.pack_torrent(closed))
    found = table.torrent(info_hash(10))
    assert found == closed
    again = wire.TorrentEntry(11, 1, info_hash(10), wire.NO_HASH, wire.TORRENT_ACCEPTED)
    table.put_torrents(wire.pack_torrent(again) + wire.pack_torrent(closed))
    assert table.torrent(info_hash(10)) == again
    assert table.torrent(wire.NO_HASH) is None
    moved = again._replace(canonical=b"n" * 20)
    table.put_torrents(wire.pack_torrent(moved))
    assert table.torrent(info_hash(10)) is None
    assert table.torrent(b"n" * 20) == moved


def test_published_rules_replace_what_they_name() -> None:
    assert read_rules(b'{"interval":900,"seats":2,"new":[]}', Rules()) == Rules(
        interval=900, seats=2
    )
    for wrong in (b"[]", b"{", b'{"interval":"x"}', b'{"interval":1}', b'{"seats":9}'):
        with pytest.raises(ValueError, match=r"access rule|Expecting|JSON"):
            read_rules(wrong, Rules())


@pytest.mark.parametrize(
    ("interval", "percent", "least", "greatest"),
    [(1800, 10, 1620, 1980), (1800, 0, 1800, 1800), (60, 50, 30, 90), (86_400, 50, 43_200, 65_535)],
)
def test_intervals_vary_within_their_spread(
    interval: int, percent: int, least: int, greatest: int
) -> None:
    """Two bytes hold an interval in the record, so longer ones end there."""
    announcer = Announcer()
    announcer.access.rules = Rules(interval=interval, spread_percent=percent)
    found = []
    for announcer.roll in (0.0, 0.5, 1 - 2**-53):
        found.append(announcer.announce().reply.interval)
    assert found[0] == least
    assert found == sorted(found)
    assert greatest - 1 <= found[-1] <= greatest
