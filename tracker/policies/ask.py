"""An announce on its way through the policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from tracker.access_table import AccessTable
from tracker.protocol.announce import AnnounceRequest
from tracker.rules import Rules
from tracker.swarm import Swarm
from tracker.wire import AccountEntry, TorrentEntry


class Access(Protocol):
    """The access feed as announces see it."""

    @property
    def loaded(self) -> bool:
        """Whether anything is known yet."""
        ...

    @property
    def table(self) -> AccessTable:
        """Accounts and torrents; another object after each full load."""
        ...

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        ...


class Ask:
    """What is known of an announce so far; later policies rely on what earlier ones found.

    `address` is 4 or 16 bytes. `account` is set by the key policy. `torrent` is None where
    the info hash is unknown, `swarm` where nobody announced the torrent yet. `now` is in seconds.
    """

    __slots__ = (
        "account",
        "address",
        "now",
        "passkey",
        "request",
        "rules",
        "swarm",
        "torrent",
    )

    def __init__(
        self,
        request: AnnounceRequest,
        passkey: bytes,
        address: bytes,
        *,
        torrent: TorrentEntry | None,
        rules: Rules,
        now: int,
    ) -> None:
        self.request = request
        self.passkey = passkey
        self.address = address
        self.torrent = torrent
        self.rules = rules
        self.now = now
        self.account: AccountEntry | None = None
        self.swarm: Swarm | None = None


Policy: TypeAlias = Callable[[Ask], None]
"""Lets an announce pass, or raises Refusal."""
