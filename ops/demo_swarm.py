"""The swarms of the demo: a small client that really announces, with totals that add up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha1, sha256
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import httpx
from bencodepy import BencodeDecodeError, decode, encode

from ops.demo_content import DemoTorrent
from ops.failures import OperatorError

ROUNDS = 4
"""Announces of each client between its first and its last."""
ANSWER_SECONDS = 10
KNOWN_SECONDS = 10.0
"""How long the tracker may take to hear of a new member or torrent."""
RETRY_SECONDS = 0.2
FIRST_PORT = 51_413


class AnnounceRefused(OperatorError):
    """The tracker did not take an announce."""


@dataclass
class Peer:
    """One client of one member in one swarm; totals in bytes, as clients count them."""

    member: str
    torrent: DemoTorrent
    key: str
    info_hash: bytes
    port: int
    uploaded: int = 0
    downloaded: int = 0
    left: int = 0

    @property
    def query(self) -> str:
        """The announce as it stands, without an event (BEP 3, BEP 23)."""
        who = sha256(f"{self.member}:{self.torrent.name}".encode()).hexdigest()
        return (
            f"info_hash={quote(self.info_hash, safe='')}&peer_id=-qB5030-{who[:12]}"
            f"&port={self.port}&uploaded={self.uploaded}&downloaded={self.downloaded}"
            f"&left={self.left}&key={who[-8:].upper()}&compact=1&no_peer_id=1&numwant=50"
        )


class Announcer:
    """Sends announces to the tracker of this installation."""

    def __init__(self, tracker_url: str) -> None:
        """`tracker_url` ends with the port: the announce URL in a file may lead elsewhere."""
        self._client = httpx.Client(
            base_url=tracker_url,
            timeout=ANSWER_SECONDS,
            headers={"User-Agent": "qBittorrent/5.0.3 (trackarr demo)"},
        )
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def announce(self, peer: Peer, event: str = "") -> None:
        """Announce once and see it taken.

        A member or torrent of this second may still be on its way to the tracker, so a refusal is
        tried again for a while. Raises AnnounceRefused.
        """
        path = f"/announce/{peer.key}?{peer.query}" + (f"&event={event}" if event else "")
        deadline = time.monotonic() + KNOWN_SECONDS
        while (refusal := self._refusal(path)) is not None:
            if time.monotonic() > deadline:
                raise AnnounceRefused(f"The tracker refused an announce: {refusal}")
            time.sleep(RETRY_SECONDS)
        self.sent += 1

    def _refusal(self, path: str) -> str | None:
        try:
            reply = decode(self._client.get(path).content)
        except (httpx.HTTPError, BencodeDecodeError) as error:
            return f"it does not answer ({type(error).__name__})."
        reason = reply.get(b"failure reason")
        return None if reason is None else reason.decode(errors="replace")


def make_peer(member: str, torrent: DemoTorrent, file: bytes, *, number: int) -> Peer:
    """The client of a member who opened the file he downloaded; `number` spreads ports."""
    content = decode(file)
    address = urlsplit(content[b"announce"].decode())
    info_hash = sha1(encode(content[b"info"])).digest()  # noqa: S324 (BEP 3)
    key = address.path.rsplit("/", 1)[-1]
    return Peer(member, torrent, key, info_hash, FIRST_PORT + number)


def run_swarm(announcer: Announcer, seeder: Peer, leechers: list[Peer]) -> None:
    """Let the leechers of one torrent get as far as they shall; what one gets the other gave."""
    size = seeder.torrent.size
    goals = dict(seeder.torrent.leechers)
    announcer.announce(seeder, "started")
    for leecher in leechers:
        leecher.left = size
        announcer.announce(leecher, "started")
    for turn in range(1, ROUNDS + 1):
        for leecher, goal in ((peer, goals[peer.member]) for peer in leechers):
            _advance(seeder, leecher, size * goal * turn // (100 * ROUNDS))
            announcer.announce(leecher, "" if leecher.left else _completed(turn))
        announcer.announce(seeder)
    for leecher in leechers:
        if leecher.member in leecher.torrent.leaving:
            announcer.announce(leecher, "stopped")


def _advance(giver: Peer, taker: Peer, reached: int) -> None:
    got = reached - taker.downloaded
    giver.uploaded += got
    taker.downloaded = reached
    taker.left -= got


def _completed(turn: int) -> str:
    """Only the turn that gets the last byte completes."""
    return "completed" if turn == ROUNDS else ""


def totals(peers: list[Peer]) -> Iterator[tuple[str, int, int]]:
    """Uploaded and downloaded bytes of each member over all his clients."""
    for member in sorted({peer.member for peer in peers}):
        own = [peer for peer in peers if peer.member == member]
        yield member, sum(p.uploaded for p in own), sum(p.downloaded for p in own)
