"""A torrent and its swarm as the site knows them, for moderators who look for a fault."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from psycopg.errors import QueryCanceled

from domain.errors import NotFound, Unavailable
from interfaces.http.deps import Moderator, Reads
from interfaces.http.errors import refusals
from interfaces.http.models import Instant, Reply
from interfaces.http.paging import read_cursor, write_cursor
from interfaces.http.torrent_replies import visible_torrent
from projections.holdings import TorrentTotals, find_torrent_totals, moment
from projections.swarm_peers import (
    PAGE,
    SwarmClient,
    SwarmMember,
    list_swarm_clients,
    list_swarm_members,
)
from projections.torrent_pages import TorrentRow

router = APIRouter(tags=["Debug"])


class SwarmTooBusy(Unavailable):
    """So much was announced lately that a member's clients are not found in time."""

    code = "swarm_too_busy"
    message = "The ledger took too long to search; ask for fewer members at once."


class TorrentRowReply(Reply):
    """The torrent's row. Sizes are bytes; `number` is its number in announces."""

    id: UUID
    number: int
    info_hash: str
    info_hash_v2: str | None
    original_info_hash: str | None
    name: str
    size: int
    piece_length: int
    file_count: int
    category_id: UUID | None
    uploader_id: UUID
    uploader: str | None
    moderation_status: str
    created_at: Instant
    moderated_at: Instant | None
    content_signature: str
    tags: list[str]


class SwarmTotalsReply(Reply):
    """Sums over all members ever: credited and raw bytes, seconds of seeding, snatches."""

    seeders: int
    leechers: int
    completed: int
    uploaded: int
    downloaded: int
    raw_uploaded: int
    raw_downloaded: int
    seed_seconds: int


class ClientReply(Reply):
    """A client's last announce, as archived.

    `peerId` is hex, `client` its first eight bytes where they are text. `addressHash` is keyed:
    equal within a month for equal addresses. `left` is null where the client did not tell;
    totals are what it said. `late` announces credit nothing.
    """

    peer_id: str
    client: str | None
    address_hash: str
    port: int
    family: int
    protocol: str
    event: str
    is_seeder: bool
    uploaded: int
    downloaded: int
    left: int | None
    late: bool
    announced_at: Instant | None


class PeerReply(Reply):
    """A member in the swarm: what he is credited and what his clients said raw, in bytes.

    `seeding` and `leeching` count his clients at present.
    """

    account_number: int
    user_id: UUID | None
    username: str | None
    uploaded: int
    downloaded: int
    raw_uploaded: int
    raw_downloaded: int
    seed_seconds: int
    first_at: Instant | None
    last_at: Instant | None
    completed_at: Instant | None
    seeding: int
    leeching: int
    clients: list[ClientReply]


class TorrentDebugReply(Reply):
    """The torrent, its sums, and a page of the members in its swarm by account number."""

    torrent: TorrentRowReply
    swarm: SwarmTotalsReply
    peers: list[PeerReply]
    next_cursor: str | None


@router.get("/api/debug/{info_hash}", responses=refusals(NotFound))
def show_torrent_debug(
    info_hash: str,
    caller: Moderator,
    reads: Reads,
    limit: Annotated[int, Query(ge=1, le=PAGE, description="Members of a page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`nextCursor` of the page before.")
    ] = None,
) -> TorrentDebugReply:
    """Show a torrent's row and who is in its swarm, with totals but without addresses."""
    (after,) = read_cursor(cursor, int) if cursor is not None else (0,)
    with reads.connection() as connection:
        row = visible_torrent(connection, info_hash, caller)
        totals = find_torrent_totals(connection, [row.number])[row.number]
        members = list_swarm_members(connection, row.number, after=int(after), limit=limit + 1)
        shown = members[:limit]
        try:
            clients = list_swarm_clients(connection, row.number, shown)
        except QueryCanceled as fault:
            raise SwarmTooBusy(retry_after=1) from fault
    return TorrentDebugReply(
        torrent=_row_reply(row),
        swarm=_totals_reply(row, totals),
        peers=[
            _peer_reply(member, [one for one in clients if one.account == member.account])
            for member in shown
        ],
        next_cursor=write_cursor(shown[-1].account) if len(members) > limit else None,
    )


def _row_reply(row: TorrentRow) -> TorrentRowReply:
    return TorrentRowReply(
        id=row.id,
        number=row.number,
        info_hash=row.info_hash,
        info_hash_v2=row.info_hash_v2,
        original_info_hash=row.original_info_hash,
        name=row.name,
        size=row.size,
        piece_length=row.piece_length,
        file_count=row.file_count,
        category_id=row.category,
        uploader_id=row.uploader,
        uploader=row.uploader_name,
        moderation_status=row.status,
        created_at=row.created_at,
        moderated_at=row.moderated_at,
        content_signature=row.content_signature,
        tags=row.tags,
    )


def _totals_reply(row: TorrentRow, totals: TorrentTotals) -> SwarmTotalsReply:
    return SwarmTotalsReply(
        # Live counts are there from the first announce, sums only from the first credit.
        seeders=row.seeders,
        leechers=row.leechers,
        completed=totals.snatches,
        uploaded=totals.uploaded,
        downloaded=totals.downloaded,
        raw_uploaded=totals.raw_uploaded,
        raw_downloaded=totals.raw_downloaded,
        seed_seconds=totals.seed_seconds,
    )


def _peer_reply(member: SwarmMember, clients: list[SwarmClient]) -> PeerReply:
    return PeerReply(
        account_number=member.account,
        user_id=member.id,
        username=member.username,
        uploaded=member.uploaded,
        downloaded=member.downloaded,
        raw_uploaded=member.raw_uploaded,
        raw_downloaded=member.raw_downloaded,
        seed_seconds=member.seed_seconds,
        first_at=moment(member.first_at),
        last_at=moment(member.last_at),
        completed_at=moment(member.completed_at),
        seeding=member.seeding,
        leeching=member.leeching,
        clients=[_client_reply(client) for client in clients],
    )


def _client_reply(client: SwarmClient) -> ClientReply:
    return ClientReply(
        peer_id=client.peer_id,
        client=_program(client.client),
        address_hash=client.address,
        port=client.port,
        family=client.family,
        protocol=client.protocol,
        event=client.event,
        is_seeder=client.left == 0,
        uploaded=client.uploaded,
        downloaded=client.downloaded,
        left=client.left,
        late=client.late,
        announced_at=moment(client.at),
    )


def _program(tag: str) -> str | None:
    """The tag as text where it is some: most clients begin their peer id with name and version."""
    raw = bytes.fromhex(tag)
    return raw.decode("ascii") if all(33 <= byte < 127 for byte in raw) else None
