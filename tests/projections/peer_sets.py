"""Made peer records: a small hostile set where everything happens, and a large one like real use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from domain.credit import PeerRecord, Window
from projections.peer_records import LAYOUT, Records
from tracker import wire

T0 = 1_790_000_000_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND
NONSENSE = np.array([0, 1, 2**62 - 1, 2**62, 2**63, 2**64 - 1], np.uint64)


def hostile_records(count: int, *, seed: int) -> Records:
    """Few accounts, torrents and peer ids, so that every rule meets every other in one batch."""
    chance = np.random.default_rng(seed)
    records = np.zeros(count, LAYOUT)
    # Mostly seconds, now and then hours: some gaps pass the six hours.
    steps = chance.choice([0, 1, 3, 20, 90], count) * SECOND
    steps[chance.random(count) < 0.002] = 5 * HOUR
    records["at"] = T0 + np.cumsum(steps)
    # Neighbours in 32 bits: a key that mixes or loses bits confuses them.
    records["account"] = chance.choice([1, 2, 3, 2**31, 2**32 - 2, 2**32 - 1], count)
    records["torrent"] = chance.choice([1, 2, 5, 2**31, 2**32 - 1], count)
    peers = [b"-XX0001-" + bytes([n]) * 12 for n in range(3)]
    # The same but for the last byte.
    peers += [b"-XX0001-" + b"a" * 11 + bytes([n]) for n in range(2)]
    records["peer"] = np.array(peers, "V20")[chance.integers(0, len(peers), count)]
    for name in ("up", "down"):
        records[name] = _hostile_totals(chance, count)
    lefts = np.array([0, 0, 0, 100, 16384, 10**9, wire.UNKNOWN_LEFT], np.uint64)
    records["left"] = chance.choice(lefts, count)
    records["event"] = chance.choice([0, 0, 0, 0, 1, 2, 3, 4], count)
    records["flags"] = chance.random(count) < 0.08
    records["interval"] = chance.choice([0, 60, 1620, 1800, 1980], count)
    records["family"] = chance.choice([4, 6], count)
    records["protocol"] = wire.PROTOCOL_HTTP
    again = np.flatnonzero(chance.random(count - 1) < 0.15)
    records[again + 1] = records[again]
    records["at"] = np.maximum.accumulate(records["at"])
    return records


def _hostile_totals(chance: np.random.Generator, count: int) -> np.ndarray:
    totals = np.cumsum(chance.integers(0, 5_000_000, count)).astype(np.uint64)
    # Above any allowance, equal to others, falling, and what no client can have moved.
    jump = chance.random(count) < 0.01
    totals[jump] += np.uint64(2**40)
    small = chance.random(count) < 0.05
    totals[small] = chance.integers(0, 1000, int(small.sum()))
    mad = chance.random(count) < 0.02
    totals[mad] = chance.choice(NONSENSE, int(mad.sum()))
    return totals


def hostile_windows() -> tuple[Window, ...]:
    """Overlapping, nested, touching; for all torrents and for some."""
    spans = [(None, 0, 40, 200, 50), (None, 20, 60, 150, 0), (None, 60, 70, 0, 100)]
    spans += [(1, 10, 30, 100, 0), (1, 15, 300, 300, 75), (1, 30, 31, 0, 0)]
    spans += [(2**32 - 1, 0, 10**6, 133, 33), (5, 65, 66, 500, 500), (2, 50, 400, 99, 101)]
    return tuple(
        Window(
            torrent=torrent,
            starts_at=T0 + start * HOUR // 4,
            ends_at=T0 + end * HOUR // 4,
            up_percent=up,
            down_percent=down,
        )
        for torrent, start, end, up, down in spans
    )


def steady_records(sessions: int, rounds: int, *, seed: int) -> Records:
    """Each session announces once a round, in random order; most leech, then seed, some stop."""
    chance = np.random.default_rng(seed)
    account = chance.integers(1, 5_000, sessions)
    torrent = np.minimum(chance.zipf(1.3, sessions), 20_000) + chance.integers(0, 2_000, sessions)
    peer = chance.bytes(20 * sessions)
    speed = chance.integers(0, 3_000_000, sessions)
    size = chance.integers(10**6, 4 * 10**9, sessions)
    parts = []
    for number in range(rounds):
        order = chance.permutation(sessions)
        records = np.zeros(sessions, LAYOUT)
        records["at"] = (
            T0 + number * 1800 * SECOND + np.arange(sessions) * 1800 * SECOND // sessions
        )
        records["account"], records["torrent"] = account[order], torrent[order]
        records["peer"] = np.frombuffer(peer, "V20")[order]
        done = np.minimum(speed * number * 1800, size)[order]
        records["down"] = done
        records["up"] = speed[order] * number * 900
        records["left"] = size[order] - done
        records["event"] = chance.choice([0, 3, 4], sessions, p=[0.93, 0.05, 0.02])
        if number == 0:
            records["event"] = wire.EVENT_STARTED
        records["interval"] = 1800
        parts.append(records)
    return np.concatenate(parts)


def many_windows(torrents: int) -> tuple[Window, ...]:
    """Windows for so many torrents that a narrow search key would overflow."""
    return tuple(
        Window(
            torrent=number + 1,
            starts_at=T0 + number % 7 * HOUR // 5,
            ends_at=T0 + number % 7 * HOUR // 5 + HOUR,
            up_percent=100 + number % 3 * 50,
            down_percent=number % 2 * 50,
        )
        for number in range(torrents)
    )


def model_records(records: Records) -> Iterator[PeerRecord]:
    """The same records as the reference model takes them."""
    for values in wire.RECORD.iter_unpack(records.tobytes()):
        at, torrent, account, peer, _, up, down, left, event, _, _, _, flags, interval, _, _ = (
            values
        )
        yield PeerRecord(
            at=at,
            torrent=torrent,
            account=account,
            peer=peer,
            uploaded=up,
            downloaded=down,
            left=left,
            event=event,
            interval=interval,
            late=bool(flags & wire.FLAG_LATE),
        )
