"""Scrapes: who is in the swarms that a valid passkey may see, on all shards."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from tracker.forwarded_frames import ForwardedScrape
from tracker.forwarding import Forwarder
from tracker.policies.ask import Access
from tracker.protocol.passkeys import PasskeyCheck, account_number, read_passkey
from tracker.protocol.refusals import Refusal, unavailable
from tracker.protocol.scrape import Figures, ScrapeRequest, SwarmFigures, unpack_figures
from tracker.swarms import Swarms
from tracker.wire import (
    ACCOUNT_MAY_ANNOUNCE,
    TORRENT_ACCEPTED,
    TORRENT_PENDING,
    TorrentEntry,
)

_EMPTY: Final = SwarmFigures(0, 0)
_INVALID: Final = ("passkey_invalid", "Invalid passkey")


class ScrapeAnswer(Protocol):
    """A client that waits for figures."""

    def scraped(self, figures: Figures) -> None:
        """Send them."""
        ...

    def turn_down(self, refusal: Refusal) -> None:
        """Send a refusal."""
        ...


class Scrapes:
    """Answers from memory and records nothing, so it waits for no stream."""

    def __init__(
        self,
        *,
        access: Access,
        swarms: Swarms,
        passkeys: PasskeyCheck,
        clock: Callable[[], int],
        forwarder: Forwarder | None = None,
        shard: int = 0,
    ) -> None:
        """`clock` gives microseconds."""
        self._access = access
        self._swarms = swarms
        self._passkeys = passkeys
        self._clock = clock
        self._forwarder = forwarder
        self._shard = shard

    def ask(
        self, request: ScrapeRequest, address: bytes, protocol: int, answer: ScrapeAnswer
    ) -> None:
        """Answer now, or once the shards of all its torrents have. Raises Refusal."""
        visible = self._visible(request.hashes, request.passkey, address)
        own: dict[bytes, SwarmFigures] = {}
        foreign: dict[int, list[bytes]] = {}
        for info_hash, torrent in visible:
            owner = self._owner(torrent)
            if owner == self._shard:
                own[info_hash] = self._swarm_figures(torrent)
            else:
                foreign.setdefault(owner, []).append(info_hash)
        if self._forwarder is None or not foreign:
            answer.scraped(own)
            return
        gathering = _Gathering(answer, own, len(foreign))
        for owner, hashes in foreign.items():
            there = ForwardedScrape(hashes, request.passkey, address, protocol)
            try:
                self._forwarder.scrape(owner, there, gathering)
            except Refusal as refusal:
                gathering.turn_down(refusal)

    def figures(self, hashes: Sequence[bytes], passkey: bytes, address: bytes) -> Figures:
        """Figures of those among our own torrents that this key may see. Raises Refusal."""
        return {
            info_hash: self._swarm_figures(torrent)
            for info_hash, torrent in self._visible(hashes, passkey, address)
            if self._owner(torrent) == self._shard
        }

    def _visible(
        self, hashes: Sequence[bytes], passkey: bytes, address: bytes
    ) -> list[tuple[bytes, TorrentEntry]]:
        """Torrents among these that the key opens and its member may see.

        A key of one torrent opens that one; where it opens none, it is invalid. Raises Refusal.
        """
        if not self._access.loaded:
            raise Refusal("starting", "The tracker is starting.", 1)
        if not passkey:
            raise Refusal("passkey_missing", "Passkey required")
        raw = read_passkey(passkey)
        if raw is None:
            raise Refusal(*_INVALID)
        table = self._access.table
        account = table.account(account_number(raw))
        kid, epoch = (account.kid, account.epoch_announce) if account is not None else (-1, 0)
        is_general = self._passkeys.opens(raw, kid, epoch, 0)
        found = ((info_hash, table.torrent(info_hash)) for info_hash in hashes)
        opened = [
            (info_hash, torrent)
            for info_hash, torrent in found
            if torrent is not None
            and (is_general or self._passkeys.opens(raw, kid, epoch, torrent.number))
        ]
        if account is None or not (is_general or opened):
            raise Refusal(*_INVALID)
        if not account.flags & ACCOUNT_MAY_ANNOUNCE:
            raise Refusal("account_banned", "User is banned")
        if self._access.banned.covers(address, self._clock() // 1_000_000):
            raise Refusal("address_banned", "Access denied: this address is banned.")
        return [pair for pair in opened if _may_see(pair[1], account.number)]

    def _owner(self, torrent: TorrentEntry) -> int:
        return self._forwarder.owner(torrent.canonical) if self._forwarder else self._shard

    def _swarm_figures(self, torrent: TorrentEntry) -> SwarmFigures:
        swarm = self._swarms.find(torrent.number)
        return SwarmFigures(swarm.seeders, swarm.leechers) if swarm is not None else _EMPTY


def _may_see(torrent: TorrentEntry, account: int) -> bool:
    """As for announces: an accepted torrent is everyone's, a pending one its uploader's."""
    if torrent.state == TORRENT_PENDING:
        return torrent.uploader == account
    return torrent.state == TORRENT_ACCEPTED


class _Gathering:
    """One client's scrape while shards are asked; the first refusal is the answer."""

    __slots__ = ("_answer", "_figures", "_missing")

    def __init__(
        self, answer: ScrapeAnswer, figures: dict[bytes, SwarmFigures], missing: int
    ) -> None:
        self._answer = answer
        self._figures = figures
        self._missing = missing

    def relay(self, body: bytes) -> None:
        """One shard's figures have come."""
        if not self._missing:
            return
        try:
            self._figures.update(unpack_figures(body))
        except struct.error:
            self.turn_down(unavailable())
            return
        self._missing -= 1
        if not self._missing:
            self._answer.scraped(self._figures)

    def turn_down(self, refusal: Refusal) -> None:
        """One shard refuses."""
        if self._missing:
            self._missing = 0
            self._answer.turn_down(refusal)
