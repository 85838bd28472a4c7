"""What swarms must be, in plain dictionaries: slow, and easy to see right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from tracker import wire


class Client(NamedTuple):
    """Who a peer is: one client of one member in one torrent."""

    torrent: int
    account: int
    peer_id: bytes


@dataclass
class ReferencePeer:
    """What is known of a peer; `endpoints` by their size, 6 or 18 bytes."""

    seen: int = 0
    key: bytes = b""
    up: int = 0
    down: int = 0
    left: int = 0
    interval: int = 0
    endpoints: dict[int, bytes] = field(default_factory=dict)

    @property
    def seeding(self) -> bool:
        return self.left == 0


@dataclass
class ReferenceSwarms:
    """All peers of all torrents."""

    life: int
    seats: int
    peers: dict[Client, ReferencePeer] = field(default_factory=dict)

    def of_torrent(self, torrent: int) -> dict[Client, ReferencePeer]:
        return {client: peer for client, peer in self.peers.items() if client.torrent == torrent}

    def counts(self, torrent: int) -> tuple[int, int]:
        """Seeders and leechers."""
        seeding = [peer.seeding for peer in self.of_torrent(torrent).values()]
        return sum(seeding), len(seeding) - sum(seeding)

    def leaving_for(self, client: Client, endpoint: bytes, now: int) -> set[Client] | None:
        """Those of whom one has to go for a new client; empty if nobody, None if refused."""
        others = {
            other: peer
            for other, peer in self.of_torrent(client.torrent).items()
            if other.account == client.account
        }
        same = {other for other, peer in others.items() if endpoint in peer.endpoints.values()}
        if same or len(others) < self.seats:
            return same
        longest = min(peer.seen for peer in others.values())
        silent = {
            other
            for other, peer in others.items()
            if peer.seen == longest and now - peer.seen > peer.interval
        }
        return silent or None

    def is_late(
        self, client: Client, *, up: int, down: int, key: bytes, event: int, now: int
    ) -> bool:
        peer = self.peers.get(client)
        if peer is None or event in {wire.EVENT_STARTED, wire.EVENT_STOPPED}:
            return False
        return (up < peer.up or down < peer.down) and key == peer.key and now - peer.seen < 60

    def possible(self, client: Client, widths: set[int], *, seeding: bool) -> Counter[bytes]:
        """The endpoints that may be offered to this client."""
        return Counter(
            endpoint
            for other, peer in self.of_torrent(client.torrent).items()
            if other != client and peer.seeding is seeding
            for width, endpoint in peer.endpoints.items()
            if width in widths
        )
