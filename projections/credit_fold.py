"""The credit fold: `domain.credit` over many records at once, its state in numpy arrays."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import numpy as np

from domain.credit import (
    LONGEST_GAP,
    MAX_TOTAL,
    MICROSECONDS,
    SILENT_SECONDS,
    CreditPolicy,
    CreditRules,
    PeerEvent,
    Side,
    Window,
    Withheld,
)
from projections.credit_policy import PercentTable
from projections.credit_slots import Groups, SlotTable
from projections.peer_records import Flags, Ints, Keys, Records
from tracker import wire

NEVER: Final = -(2**62)
"""`at` of a session without a record: any real gap to it is longer than every rule looks back."""
ENDED: Final = -1
"""Remembered `left` after `stopped`: neither a seeder's nor a leecher's."""
SUMS: Final = (
    "uploaded",
    "downloaded",
    "raw_uploaded",
    "raw_downloaded",
    "seed_time",
    "snatches",
)
PRUNE_SESSIONS: Final = 100_000
_PAIR_SHIFT: Final = np.uint64(32)
_NUMBER: Final = np.uint64(0xFFFFFFFF)


class _Rows(NamedTuple):
    """Columns of the records that count, in log order, and where their state stands."""

    sessions: Ints
    holdings: Ints
    by_session: Groups
    by_holding: Groups
    torrent: Ints
    at: Ints
    up: Ints
    down: Ints
    left: Ints
    interval: Ints
    stopped: Flags


class _Judged(NamedTuple):
    """What the records are worth by themselves, before their holding has its say."""

    sums: Ints
    withheld_up: Ints
    withheld_down: Ints
    seeds: Flags
    seeds_from: Ints
    done: Flags


class CreditFold:
    """Sessions, holdings, members, torrents and live counts of one shard.

    The result depends on the records and policies alone, not on how they were cut into
    batches; `seed` only places keys in buckets. Rows that changed are marked in each table.
    """

    def __init__(self, *, seed: int) -> None:
        sums = dict.fromkeys(SUMS, 0)
        self.sessions = SlotTable(
            4,
            {"at": NEVER, "up": 0, "down": 0, "left": ENDED, "interval": 0, "side": Side.GONE},
            seed=seed,
        )
        self.holdings = SlotTable(
            1,
            sums
            | {"first_at": 0, "last_at": 0, "left": MAX_TOTAL, "seeded_until": 0}
            | {"completed_at": 0, "seeding": 0, "leeching": 0},
            seed=seed,
        )
        self.members = SlotTable(1, sums, seed=seed)
        self.torrents = SlotTable(1, sums, seed=seed)
        self.live = SlotTable(1, {"seeders": 0, "leechers": 0}, seed=seed)
        self.withheld: list[Withheld] = []
        self.latest_at = NEVER
        self._percents = PercentTable(())
        self._windows: tuple[Window, ...] = ()
        self._prune_at = PRUNE_SESSIONS

    def tables(self) -> dict[str, SlotTable]:
        """All it remembers between records, by name."""
        return {
            "sessions": self.sessions,
            "holdings": self.holdings,
            "members": self.members,
            "torrents": self.torrents,
            "live": self.live,
        }

    def fold(self, records: Records, policy: CreditPolicy, *, batch: int) -> None:
        """Apply a ledger batch: its records as kept (`peer_records.as_kept`), in order."""
        if policy.windows != self._windows:
            self._percents, self._windows = PercentTable(policy.windows), policy.windows
        step = policy.rules.records_per_sum
        for first in range(0, len(records), step):
            self._fold(records[first : first + step], policy.rules, batch=batch, first=first)
        if len(self.sessions) > self._prune_at:
            self._prune()

    def sweep(self) -> None:
        """Close what was silent for `SILENT_SECONDS` before the latest record."""
        sessions = self.sessions
        before = self.latest_at - SILENT_SECONDS * MICROSECONDS
        size = len(sessions)
        silent = (sessions["side"][:size] != Side.GONE) & (sessions["at"][:size] < before)
        slots = np.flatnonzero(silent)
        if len(slots):
            self._change_sides(slots, np.full(len(slots), Side.GONE, np.int64))

    def _prune(self) -> None:
        """Forget sessions that no rule can look back to; a rule on event times, so harmless."""
        self.sweep()
        before = self.latest_at - (LONGEST_GAP + 1) * MICROSECONDS
        self.sessions.keep(self.sessions["at"][: len(self.sessions)] >= before)
        self._prune_at = max(PRUNE_SESSIONS, 2 * len(self.sessions))

    def _fold(self, records: Records, rules: CreditRules, *, batch: int, first: int) -> None:
        event = records["event"]
        late = (records["flags"] & wire.FLAG_LATE) != 0
        ends = (event == PeerEvent.STOPPED) | (event == PeerEvent.EXPIRED)
        counted = ~late & (event != PeerEvent.EXPIRED)
        counts = np.flatnonzero(counted)
        closes = np.flatnonzero(ends & ~counted)
        slots = np.full(len(records), -1, np.int64)
        counting = records if len(counts) == len(records) else records[counts]
        if len(counts):
            slots[counts] = self.sessions.insert(_session_keys(counting))
        if len(closes):
            # Found, never inserted: an end of what was never counted changes nothing.
            slots[closes] = self.sessions.find(_session_keys(records[closes]))
        known = np.flatnonzero(slots >= 0)
        groups = Groups.gather(slots[known])
        if len(counts):
            by_session = groups.only(counted[known], np.cumsum(counted)[known] - 1)
            rows = self._rows(counting, slots[counts], by_session)
            self._count(rows, rules, batch=batch, ordinals=counts + first)
        sides = np.where(records["left"] == 0, Side.SEEDER, Side.LEECHER).astype(np.int64)
        sides[ends] = Side.GONE
        lasts = known[groups.lasts]
        self._change_sides(slots[lasts], sides[lasts])

    def _count(self, rows: _Rows, rules: CreditRules, *, batch: int, ordinals: Ints) -> None:
        judged = self._judge(rows, rules)
        self._seed(rows, judged)
        self._complete(rows, judged)
        self._remember(rows)
        over = np.flatnonzero((judged.withheld_up > 0) | (judged.withheld_down > 0))
        pairs = self.holdings.keys(0)[rows.holdings[over]]
        for row, pair in zip(over.tolist(), pairs.tolist(), strict=True):
            self.withheld.append(
                Withheld(
                    batch=batch,
                    ordinal=int(ordinals[row]),
                    at=int(rows.at[row]),
                    account=pair >> 32,
                    torrent=pair & 0xFFFFFFFF,
                    uploaded=int(judged.withheld_up[row]),
                    downloaded=int(judged.withheld_down[row]),
                )
            )
        self._add(rows, judged.sums)

    def _rows(self, records: Records, sessions: Ints, by_session: Groups) -> _Rows:
        at = records["at"].astype(np.int64)
        self.latest_at = max(self.latest_at, int(at.max()))
        holdings = self.holdings.insert([_pairs(records)])
        return _Rows(
            sessions=sessions,
            holdings=holdings,
            by_session=by_session,
            by_holding=Groups.gather(holdings),
            torrent=records["torrent"].astype(np.int64),
            at=at,
            up=records["up"].astype(np.int64),
            down=records["down"].astype(np.int64),
            left=records["left"].astype(np.int64),
            interval=records["interval"].astype(np.int64),
            stopped=records["event"] == PeerEvent.STOPPED,
        )

    def _judge(self, rows: _Rows, rules: CreditRules) -> _Judged:
        """Compare each record with the one before it in its session, then back to log order."""
        groups = rows.by_session
        order, state = groups.order, self.sessions
        slots = rows.sessions[order]
        before_at = groups.previous(rows.at, state["at"][slots])
        before_up = groups.previous(rows.up, state["up"][slots])
        before_down = groups.previous(rows.down, state["down"][slots])
        left_kept = np.where(rows.stopped, ENDED, rows.left)
        before_left = groups.previous(left_kept, state["left"][slots])
        before_interval = groups.previous(rows.interval, state["interval"][slots])
        at, left, stopped = rows.at[order], rows.left[order], rows.stopped[order]
        known = at - before_at <= rules.longest_gap * MICROSECONDS
        gap = np.where(known, (at - before_at) // MICROSECONDS, 0)
        allowed = rules.max_bytes_per_second * np.maximum(gap, rules.shortest_gap)
        up = np.where(known, np.maximum(rows.up[order] - before_up, 0), 0)
        down = np.where(known, np.maximum(rows.down[order] - before_down, 0), 0)
        raw_up, raw_down = np.minimum(up, allowed), np.minimum(down, allowed)
        up_percent, down_percent = self._percents.percents(rows.torrent[order], at)
        sums = np.zeros((len(order), len(SUMS)), np.int64)
        sums[order, 0] = raw_up * up_percent // 100
        sums[order, 1] = raw_down * down_percent // 100
        sums[order, 2], sums[order, 3] = raw_up, raw_down
        longest = (before_interval + rules.seed_grace) * MICROSECONDS
        return _Judged(
            sums=sums,
            withheld_up=_in_log_order(order, up - raw_up),
            withheld_down=_in_log_order(order, down - raw_down),
            seeds=_in_log_order(order, known & (before_left == 0) & ((left == 0) | stopped)) != 0,
            seeds_from=_in_log_order(order, np.maximum(before_at, at - longest)),
            done=_in_log_order(order, known & (before_left > 0) & (left == 0) & ~stopped) != 0,
        )

    def _seed(self, rows: _Rows, judged: _Judged) -> None:
        """Seed time of the holding: what another client already earned counts once."""
        groups = rows.by_holding.only(judged.seeds)
        if not len(groups):
            return
        slots, at = rows.holdings[groups.order], rows.at[groups.order]
        until = self.holdings["seeded_until"]
        counted = groups.previous(rows.at, until[slots])
        start = np.maximum(judged.seeds_from[groups.order], counted)
        judged.sums[groups.order, SUMS.index("seed_time")] = np.maximum(at - start, 0)
        until[rows.holdings[groups.lasts]] = rows.at[groups.lasts]

    def _complete(self, rows: _Rows, judged: _Judged) -> None:
        """The first completion of each holding that has none yet."""
        firsts = rows.by_holding.only(judged.done).firsts
        completed = self.holdings["completed_at"]
        firsts = firsts[completed[rows.holdings[firsts]] == 0]
        completed[rows.holdings[firsts]] = rows.at[firsts]
        judged.sums[firsts, SUMS.index("snatches")] = 1

    def _remember(self, rows: _Rows) -> None:
        """Each session's last record becomes its previous one; holdings note what was told."""
        lasts = rows.by_session.lasts
        slots, sessions = rows.sessions[lasts], self.sessions
        sessions["at"][slots] = rows.at[lasts]
        sessions["up"][slots] = rows.up[lasts]
        sessions["down"][slots] = rows.down[lasts]
        sessions["left"][slots] = np.where(rows.stopped[lasts], ENDED, rows.left[lasts])
        sessions["interval"][slots] = rows.interval[lasts]
        groups, holdings = rows.by_holding, self.holdings
        slots = rows.holdings[groups.firsts]
        fresh = holdings["first_at"][slots] == 0
        holdings["first_at"][slots[fresh]] = rows.at[groups.firsts[fresh]]
        holdings["last_at"][slots] = rows.at[groups.lasts]
        lasts = groups.only(~rows.stopped).lasts
        holdings["left"][rows.holdings[lasts]] = rows.left[lasts]

    def _add(self, rows: _Rows, sums: Ints) -> None:
        """Add to holdings, and from there to members and torrents."""
        groups = rows.by_holding
        slots = rows.holdings[groups.firsts]
        added = groups.sums(sums)
        _add_sums(self.holdings, slots, added)
        pairs = self.holdings.keys(0)[slots]
        members = self.members.insert([pairs >> _PAIR_SHIFT])
        torrents = self.torrents.insert([pairs & _NUMBER])
        known = len(self.live)
        self.live.insert([pairs & _NUMBER])
        self.live.mark(np.arange(known, len(self.live)))
        for table, owners in ((self.members, members), (self.torrents, torrents)):
            gathered = Groups.gather(owners)
            _add_sums(table, owners[gathered.firsts], gathered.sums(added))

    def _change_sides(self, slots: Ints, sides: Ints) -> None:
        """Put distinct sessions on these sides and count the net change."""
        stored = self.sessions["side"]
        moved = stored[slots] != sides
        slots, after = slots[moved], sides[moved]
        if not len(slots):
            return
        before = stored[slots]
        stored[slots] = after
        pairs = self.sessions.keys(0)[slots]
        seeders = (after == Side.SEEDER).astype(np.int64) - (before == Side.SEEDER)
        leechers = (after == Side.LEECHER).astype(np.int64) - (before == Side.LEECHER)
        holdings = self.holdings.find([pairs])
        live = self.live.find([pairs & _NUMBER])
        np.add.at(self.holdings["seeding"], holdings, seeders)
        np.add.at(self.holdings["leeching"], holdings, leechers)
        np.add.at(self.live["seeders"], live, seeders)
        np.add.at(self.live["leechers"], live, leechers)
        self.holdings.mark(holdings)
        self.live.mark(live)

    def digest(self) -> bytes:
        """SHA-256 of all state that rules can see, after forgetting what they cannot."""
        self._prune()
        whole = hashlib.sha256()
        for table in self.tables().values():
            words = [table.keys(word) for word in range(table.width)]
            order = np.lexsort(tuple(reversed(words)))
            for word in words:
                whole.update(word[order].tobytes())
            for name in table.columns:
                whole.update(table[name][: len(table)][order].tobytes())
        return whole.digest()


def _pairs(records: Records) -> Keys:
    """Account and torrent number in one key; both are 32 bits."""
    account: Keys = records["account"].astype(np.uint64)
    return (account << _PAIR_SHIFT) | records["torrent"].astype(np.uint64)


def _session_keys(records: Records) -> list[Keys]:
    """Account and torrent, and all 20 bytes of the peer id: nothing to collide."""
    peer = np.ascontiguousarray(records["peer"]).view(np.uint8).reshape(-1, 20)
    words = np.ascontiguousarray(peer[:, :16]).view("<u8")
    tail = np.ascontiguousarray(peer[:, 16:]).view("<u4")[:, 0]
    return [
        _pairs(records),
        words[:, 0].astype(np.uint64),
        words[:, 1].astype(np.uint64),
        tail.astype(np.uint64),
    ]


def _in_log_order(order: Ints, gathered: Ints | Flags) -> Ints:
    result = np.empty(len(order), np.int64)
    result[order] = gathered
    return result


def _add_sums(table: SlotTable, slots: Ints, added: Ints) -> None:
    """Add a line of sums to each of these distinct slots, cut off at `MAX_TOTAL`."""
    for column, name in enumerate(SUMS):
        values = table[name]
        values[slots] = np.minimum(values[slots] + added[:, column], MAX_TOTAL)
    table.mark(slots)
