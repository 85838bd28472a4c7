"""What one account or one torrent announced, found in rows and blocks alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

import msgspec
import numpy as np

from application.store.sealing import Sealer
from domain.credit import MAX_TOTAL, PeerEvent
from projections.engine import Connection
from projections.ledger_blocks import BLOCK_RECORDS, Ordered
from projections.ledger_reader import held_ledger
from projections.ledger_rows import in_order, matching_rows, row_days
from projections.ledger_segments import (
    ORDER,
    SORTED,
    SegmentOpener,
    StoredSegment,
    list_segments,
    read_blocks,
)
from projections.peer_records import LAYOUT, Ints, Records
from tracker import wire

LARGEST_PAGE: Final = 10_000
LARGEST_NUMBER: Final = 2**32 - 1
Owner = Literal["account", "torrent"]
_PROTOCOLS: Final = {wire.PROTOCOL_HTTP: "http", wire.PROTOCOL_UDP: "udp"}


class Place(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Where an announce stands in the ledger; a page goes on behind the last one's place."""

    day: date
    batch: int
    ordinal: int


class Announce(msgspec.Struct, frozen=True, kw_only=True):
    """One announce as archived. `peer`, `tag` and `address` are hex; totals and `left` bytes.

    `address` is the keyed hash: equal within a month for equal addresses. `left` is None when
    the client did not tell.
    """

    place: Place
    at: datetime
    account: int
    torrent: int
    event: str
    uploaded: int
    downloaded: int
    left: int | None
    peer: str
    tag: str
    address: str
    port: int
    family: int
    protocol: str
    late: bool


def list_announces(
    conn: Connection,
    sealer: Sealer,
    owner: Owner,
    number: int,
    *,
    day: date | None = None,
    after: Place | None = None,
    limit: int = 100,
) -> list[Announce]:
    """The next announces of an account or torrent by day, batch and ordinal.

    `day` asks for one day only; `limit` is at most `LARGEST_PAGE`. An account costs one or two
    blocks a segment, a torrent all blocks of its days. Raises `LedgerDamaged` for a block that
    does not open, ValueError for a number or limit out of bounds.
    """
    if not 0 < number <= LARGEST_NUMBER or not 0 < limit <= LARGEST_PAGE:
        raise ValueError("the number or the limit is out of bounds")
    search = _Search(conn, sealer, owner, number)
    found: list[Announce] = []
    with held_ledger(conn):
        for one in search.days():
            if (day is not None and one != day) or (after is not None and one < after.day):
                continue
            behind = (after.batch, after.ordinal) if after and after.day == one else (0, -1)
            for piece in search.pieces(one, behind, limit):
                found += _announces(one, piece.only(slice(0, limit - len(found))))
                if len(found) == limit:
                    return found
    return found


class _Search:
    """Records of one account or torrent, day by day."""

    def __init__(self, conn: Connection, sealer: Sealer, owner: Owner, number: int) -> None:
        self._conn = conn
        self._sealer = sealer
        self._owner = owner
        self._number = number
        self._segments = [s for s in list_segments(conn) if s.closed and not s.retired]
        self._row_days = row_days(conn)

    def days(self) -> list[date]:
        return sorted({*self._row_days, *(segment.day for segment in self._segments)})

    def pieces(self, day: date, behind: tuple[int, int], limit: int) -> Iterator[Ordered]:
        """Matches of a day in order: what stands as rows came later than what was closed."""
        mine = [segment for segment in self._segments if segment.day == day]
        for segment in sorted(mine, key=lambda segment: segment.number):
            if segment.last_batch >= behind[0]:
                found = self._in_segment(segment)
                same = (found.seqs == behind[0]) & (found.ordinals > behind[1])
                yield found.only((found.seqs > behind[0]) | same)
        if day in self._row_days:
            yield matching_rows(
                self._conn,
                day,
                column=self._owner,
                number=self._number,
                after=behind,
                limit=limit,
            )

    def _in_segment(self, segment: StoredSegment) -> Ordered:
        opener = SegmentOpener(self._sealer, segment)
        within = self._number if self._owner == "account" else None
        records, ranks = [np.empty(0, LAYOUT)], [np.empty(0, np.int64)]
        for block in read_blocks(self._conn, segment, SORTED, holding=within):
            found, places = opener.sorted(block)
            mine = found[self._owner] == self._number
            records.append(found[mine])
            ranks.append(places[mine])
        return self._placed(opener, segment, np.concatenate(records), np.concatenate(ranks))

    def _placed(
        self, opener: SegmentOpener, segment: StoredSegment, records: Records, ranks: Ints
    ) -> Ordered:
        """Give each record its batch, ordinal and time out of the order blocks."""
        seqs, ordinals = np.zeros(len(ranks), np.int64), np.zeros(len(ranks), np.int64)
        numbers = ranks // BLOCK_RECORDS + 1
        wanted = np.unique(numbers).tolist()
        for block in read_blocks(self._conn, segment, ORDER, numbers=wanted):
            order = opener.order(block)
            here = np.flatnonzero(numbers == block.number)
            inside = ranks[here] % BLOCK_RECORDS
            seqs[here], ordinals[here] = order[0][inside], order[1][inside]
            records["at"][here] = order[2][inside]
        return in_order([Ordered(seqs, ordinals, records)])


def _announces(day: date, found: Ordered) -> list[Announce]:
    return [
        Announce(
            place=Place(day=day, batch=seq, ordinal=ordinal),
            at=datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(record["at"])),
            account=int(record["account"]),
            torrent=int(record["torrent"]),
            event=_event(int(record["event"])),
            uploaded=int(record["up"]),
            downloaded=int(record["down"]),
            # Kept totals are cut off at `MAX_TOTAL`, and "not told" is more than any.
            left=int(record["left"]) if record["left"] < MAX_TOTAL else None,
            peer=record["peer"].tobytes().hex(),
            tag=record["tag"].tobytes().hex(),
            address=record["address"].tobytes().hex(),
            port=int(record["port"]),
            family=int(record["family"]),
            protocol=_PROTOCOLS.get(int(record["protocol"]), "unknown"),
            late=bool(record["flags"] & wire.FLAG_LATE),
        )
        for seq, ordinal, record in zip(
            found.seqs.tolist(), found.ordinals.tolist(), found.records, strict=True
        )
    ]


def _event(number: int) -> str:
    try:
        return PeerEvent(number).name.lower()
    except ValueError:
        return "unknown"
