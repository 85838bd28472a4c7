"""An announce on its way through the policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from tracker.access_table import AccessTable
from tracker.banned_addresses import BannedAddresses
from tracker.protocol.announce import AnnounceRequest
from tracker.rules import Rules
from tracker.swarm import Swarm


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

    @property
    def banned(self) -> BannedAddresses:
        """Banned addresses and ranges; another object after each full load."""
        ...


class Ask:
    """What is known of an announce so far; later policies rely on what earlier ones found.

    `address` is 4 or 16 bytes, `now` in seconds. `account` is a number, with ACCOUNT_* bits in
    `rights`; the key policy sets both, 0 means none. `torrent` is a number, 0 where the info
    hash is unknown, with TORRENT_* in `state`; `swarm` is None where nobody announced it yet.
    """

    __slots__ = (
        "account",
        "address",
        "now",
        "passkey",
        "request",
        "rights",
        "rules",
        "state",
        "swarm",
        "torrent",
        "uploader",
    )

    def __init__(
        self,
        request: AnnounceRequest,
        passkey: bytes,
        address: bytes,
        *,
        access: Access,
        now: int,
    ) -> None:
        """`access` tells the torrent's number and state, and the rules."""
        self.request = request
        self.passkey = passkey
        self.address = address
        self.now = now
        self.rules = access.rules
        self.account = self.rights = 0
        self.torrent, self.uploader, self.state = access.table.torrent_state(request.info_hash)
        self.swarm: Swarm | None = None

    @property
    def is_in_swarm(self) -> bool:
        """Whether this very client is in the torrent's swarm already."""
        return self.swarm is not None and self.swarm.find(self.account, self.request.peer_id) >= 0


Policy: TypeAlias = Callable[[Ask], None]
"""Lets an announce pass, or raises Refusal."""
