"""Reference model of credit: what one peer record is worth, in plain integers, one at a time."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

import msgspec

MICROSECONDS: Final = 1_000_000
MAX_TOTAL: Final = 2**62
"""Claimed totals and all sums end here: one more addition still fits a signed 64-bit number."""
MAX_PERCENT: Final = 500
FOLD_RECORDS: Final = 20_000
LONGEST_GAP: Final = 86_400
"""No rule may look back further, so a session silent for longer (seconds) can be forgotten."""
SILENT_SECONDS: Final = 6 * 3600
"""A peer that neither announced nor was stated `expired` for this long is in no swarm."""


class PeerEvent(IntEnum):
    """Events of a peer record; the same numbers as in the tracker's wire format."""

    NONE = 0
    COMPLETED = 1
    STARTED = 2
    STOPPED = 3
    EXPIRED = 4


class Side(IntEnum):
    """What a peer is in its swarm at present."""

    GONE = 0
    LEECHER = 1
    SEEDER = 2


class CreditRules(msgspec.Struct, frozen=True, kw_only=True):
    """Constants of these rules (design, section 6).

    `max_bytes_per_second` times the gap, at least `shortest_gap` seconds, is what one record
    may credit; the rest is withheld. After `longest_gap` seconds of silence a record is a base
    line. `seed_grace` seconds on top of the promised interval is the longest gap that counts
    as seeding. Raises ValueError for constants with which sums could leave 64 bits.
    """

    max_bytes_per_second: int = 2**30
    shortest_gap: int = 60
    longest_gap: int = 6 * 3600
    seed_grace: int = 60

    def __post_init__(self) -> None:
        if min(self.max_bytes_per_second, self.shortest_gap, self.seed_grace) < 0:
            raise ValueError("credit rules must not be negative")
        if not self.shortest_gap <= self.longest_gap <= LONGEST_GAP:
            raise ValueError("the longest gap is at least the shortest and at most a day")
        if not self.records_per_sum:
            raise ValueError("max_bytes_per_second is too large for this longest gap")

    @property
    def records_per_sum(self) -> int:
        """How many records may be summed before a sum must be cut off at `MAX_TOTAL`."""
        most = self.max_bytes_per_second * self.longest_gap * MAX_PERCENT // 100
        return min(FOLD_RECORDS, (MAX_TOTAL - 1) // max(1, most))


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Percentages for records with `starts_at <= at < ends_at` (microseconds since 1970 UTC).

    `torrent` is a torrent number, or None for all torrents.
    """

    torrent: int | None
    starts_at: int
    ends_at: int
    up_percent: int = 100
    down_percent: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.starts_at < self.ends_at <= MAX_TOTAL:
            raise ValueError("a window starts after 1970 and ends after it starts, by 2^62 at most")
        if not (0 <= self.up_percent <= MAX_PERCENT and 0 <= self.down_percent <= MAX_PERCENT):
            raise ValueError(f"percentages lie between 0 and {MAX_PERCENT}")

    def holds(self, torrent: int, at: int) -> bool:
        return self.torrent in (None, torrent) and self.starts_at <= at < self.ends_at


class CreditPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Rules and windows as known at one log position."""

    rules: CreditRules = CreditRules()
    windows: tuple[Window, ...] = ()

    def percents(self, torrent: int, at: int) -> tuple[int, int]:
        """Upload and download percent: of overlapping windows the best for the member."""
        held = [window for window in self.windows if window.holds(torrent, at)]
        if not held:
            return 100, 100
        return max(w.up_percent for w in held), min(w.down_percent for w in held)


class PeerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What credit needs of a tracker's record: totals and `left` in bytes as claimed.

    `at` is in microseconds since 1970 UTC, `interval` the seconds promised in the answer.
    A `late` record shows totals below newer ones of the same client: a retry overtaken.
    """

    at: int
    torrent: int
    account: int
    peer: bytes
    uploaded: int
    downloaded: int
    left: int
    event: int = PeerEvent.NONE
    interval: int = 1800
    late: bool = False

    @property
    def counts(self) -> bool:
        """Late records are passed over, and `expired` only repeats what was credited."""
        return not self.late and self.event != PeerEvent.EXPIRED

    @property
    def ends(self) -> bool:
        return self.event in {PeerEvent.STOPPED, PeerEvent.EXPIRED}


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """The previous record of one account, torrent and peer id; never a decision.

    `left` is None after `stopped`: several clients send nonsense with it (webtorrent 16384 or
    2^64 - 1), so it ends a session and judges nothing.
    """

    at: int
    uploaded: int
    downloaded: int
    left: int | None
    interval: int
    side: Side


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes with percentages applied, raw bytes, seed time in microseconds, snatches."""

    uploaded: int = 0
    downloaded: int = 0
    raw_uploaded: int = 0
    raw_downloaded: int = 0
    seed_time: int = 0
    snatches: int = 0

    def plus(self, other: Sums) -> Sums:
        """Both added, each cut off at `MAX_TOTAL`."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Sums(
            **{
                name: min(a + b, MAX_TOTAL)
                for name, (a, b) in zip(self.__struct_fields__, pairs, strict=True)
            }
        )


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One member's record with one torrent, over all clients.

    `seeded_until` is the end of the seed time counted so far, `completed_at` 0 until a
    download was seen to complete, `left` what was last told.
    """

    first_at: int
    last_at: int
    left: int = MAX_TOTAL
    sums: Sums = Sums()
    seeded_until: int = 0
    completed_at: int = 0


class Withheld(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes above the allowance, and the record that claimed them (ledger batch, ordinal)."""

    batch: int
    ordinal: int
    at: int
    account: int
    torrent: int
    uploaded: int
    downloaded: int


def credit_bytes(
    previous: Session | None, record: PeerRecord, policy: CreditPolicy
) -> tuple[Sums, int, int]:
    """What a counting record credits, and the bytes withheld up and down.

    Each total stands for itself: where one fell it is a new base line and credits nothing.
    """
    if previous is None or not _continues(previous, record, policy.rules):
        return Sums(), 0, 0
    up = max(0, min(record.uploaded, MAX_TOTAL) - previous.uploaded)
    down = max(0, min(record.downloaded, MAX_TOTAL) - previous.downloaded)
    gap = max((record.at - previous.at) // MICROSECONDS, policy.rules.shortest_gap)
    allowed = policy.rules.max_bytes_per_second * gap
    raw_up, raw_down = min(up, allowed), min(down, allowed)
    up_percent, down_percent = policy.percents(record.torrent, record.at)
    sums = Sums(
        uploaded=raw_up * up_percent // 100,
        downloaded=raw_down * down_percent // 100,
        raw_uploaded=raw_up,
        raw_downloaded=raw_down,
    )
    return sums, up - raw_up, down - raw_down


def seed_time(
    previous: Session | None, holding: Holding, record: PeerRecord, rules: CreditRules
) -> int | None:
    """Microseconds of seeding since the previous record; None where it did not seed.

    Time another client of the member already earned with this torrent counts once.
    """
    if previous is None or previous.left != 0 or not _continues(previous, record, rules):
        return None
    if record.left != 0 and record.event != PeerEvent.STOPPED:
        return None
    longest = (previous.interval + rules.seed_grace) * MICROSECONDS
    start = max(previous.at, record.at - longest, holding.seeded_until)
    return max(0, record.at - start)


def completes(
    previous: Session | None, holding: Holding, record: PeerRecord, rules: CreditRules
) -> bool:
    """True where a session that lacked bytes lacks none now, once per holding.

    Only `left = 0` means done: `completed` comes from seeders that just start (webtorrent).
    """
    return (
        previous is not None
        and _continues(previous, record, rules)
        and previous.left is not None
        and previous.left > 0
        and record.left == 0
        and record.event != PeerEvent.STOPPED
        and not holding.completed_at
    )


def side_after(record: PeerRecord) -> Side:
    """A peer that does not tell what it lacks is a leecher."""
    if record.ends:
        return Side.GONE
    return Side.LEECHER if record.left else Side.SEEDER


def _continues(previous: Session, record: PeerRecord, rules: CreditRules) -> bool:
    return record.at - previous.at <= rules.longest_gap * MICROSECONDS


SessionKey = tuple[int, int, bytes]
HoldingKey = tuple[int, int]


class CreditModel:
    """The whole state of credit in dictionaries; slow, obvious, and what the fold must equal."""

    def __init__(self) -> None:
        self.sessions: dict[SessionKey, Session] = {}
        self.holdings: dict[HoldingKey, Holding] = {}
        self.members: dict[int, Sums] = {}
        self.torrents: dict[int, Sums] = {}
        self.withheld: list[Withheld] = []

    def fold(self, records: Iterable[PeerRecord], policy: CreditPolicy, *, batch: int) -> None:
        """Apply the records of one ledger batch, in order."""
        for ordinal, record in enumerate(records):
            if record.counts:
                self._count(record, policy, batch=batch, ordinal=ordinal)
            elif record.ends:
                self._close(record)

    def live(self) -> dict[int, tuple[int, int]]:
        """Seeders and leechers of each torrent that ever had a peer."""
        counts = dict.fromkeys(self.torrents, (0, 0))
        for (_, torrent, _), session in self.sessions.items():
            seeders, leechers = counts[torrent]
            counts[torrent] = (
                seeders + (session.side == Side.SEEDER),
                leechers + (session.side == Side.LEECHER),
            )
        return counts

    def sweep(self, before: int) -> None:
        """Close sessions whose last record is older than `before` (microseconds).

        The tracker states `expired`; this is for what a tracker that lost its swarms never will.
        """
        for key, session in list(self.sessions.items()):
            if session.at < before:
                self.sessions[key] = msgspec.structs.replace(session, side=Side.GONE)

    def _close(self, record: PeerRecord) -> None:
        key = (record.account, record.torrent, record.peer)
        session = self.sessions.get(key)
        if session is not None:
            self.sessions[key] = msgspec.structs.replace(session, side=Side.GONE)

    def _count(self, record: PeerRecord, policy: CreditPolicy, *, batch: int, ordinal: int) -> None:
        key = (record.account, record.torrent, record.peer)
        pair = (record.account, record.torrent)
        previous = self.sessions.get(key)
        holding = self.holdings.get(pair) or Holding(first_at=record.at, last_at=record.at)
        sums, over_up, over_down = credit_bytes(previous, record, policy)
        seeded = seed_time(previous, holding, record, policy.rules)
        done = completes(previous, holding, record, policy.rules)
        sums = msgspec.structs.replace(sums, seed_time=seeded or 0, snatches=int(done))
        stopped = record.event == PeerEvent.STOPPED
        left = min(record.left, MAX_TOTAL)
        self.sessions[key] = Session(
            at=record.at,
            uploaded=min(record.uploaded, MAX_TOTAL),
            downloaded=min(record.downloaded, MAX_TOTAL),
            left=None if stopped else left,
            interval=record.interval,
            side=side_after(record),
        )
        self.holdings[pair] = Holding(
            first_at=holding.first_at,
            last_at=record.at,
            left=holding.left if stopped else left,
            sums=holding.sums.plus(sums),
            seeded_until=holding.seeded_until if seeded is None else record.at,
            completed_at=record.at if done else holding.completed_at,
        )
        self.members[record.account] = self.members.get(record.account, Sums()).plus(sums)
        self.torrents[record.torrent] = self.torrents.get(record.torrent, Sums()).plus(sums)
        if over_up or over_down:
            self.withheld.append(
                Withheld(
                    batch=batch,
                    ordinal=ordinal,
                    at=record.at,
                    account=record.account,
                    torrent=record.torrent,
                    uploaded=over_up,
                    downloaded=over_down,
                )
            )
