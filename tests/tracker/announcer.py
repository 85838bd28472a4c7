"""A tracker's logic without sockets, with time and chance in the test's hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.tracker.running_tracker import (
    KID,
    PASSKEY_KEY,
    account,
    general_key,
    info_hash,
    peer_id,
    torrent,
)
from tracker import wire
from tracker.access_table import AccessTable
from tracker.banned_addresses import BannedAddresses
from tracker.counters import Counters
from tracker.logic import Answer, Logic
from tracker.protocol.announce import NUMWANT_DEFAULT, AnnounceRequest
from tracker.protocol.passkeys import PasskeyCheck
from tracker.rules import Rules
from tracker.swarms import Swarms


@dataclass
class Sink:
    """Takes records and keeps them."""

    accepting: bool = True
    records: list[wire.PeerRecord] = field(default_factory=list)

    def append(self, record: bytes) -> None:
        self.records.extend(wire.unpack_records(record))


@dataclass
class Access:
    table: AccessTable = field(default_factory=AccessTable)
    rules: Rules = field(default_factory=Rules)
    banned: BannedAddresses = field(default_factory=BannedAddresses)
    loaded: bool = True


class Announcer:
    """A logic with ten members and one torrent, announced to at a time of our choice."""

    def __init__(self, swarms: Swarms | None = None) -> None:
        self.now = 1_700_000_000
        self.sink = Sink()
        self.access = Access()
        self.roll = 0.5
        self.swarms = Swarms(self.access.rules.peer_life) if swarms is None else swarms
        for number in range(1, 11):
            self.access.table.put_accounts(wire.pack_account(account(number)))
        self.access.table.put_torrents(wire.pack_torrent(torrent(10)))
        self.logic = self.make_logic()

    def make_logic(self) -> Logic:
        """A logic over what this announcer holds."""
        return Logic(
            access=self.access,
            swarms=self.swarms,
            sink=self.sink,
            passkeys=PasskeyCheck({KID: PASSKEY_KEY}),
            clock=lambda: self.now * 1_000_000,
            random=lambda: self.roll,
            counters=Counters(),
        )

    def announce(
        self,
        member: int = 1,
        name: str = "a",
        *,
        up: int = 0,
        down: int = 0,
        left: int = 0,
        event: int = wire.EVENT_NONE,
        key: bytes = b"k",
        address: bytes = b"\x0a\x00\x00\x01",
        port: int = 5000,
        numwant: int = NUMWANT_DEFAULT,
        hashed: bytes = info_hash(10),
        passkey: str | None = None,
        compact: bool = True,
        protocol: int = wire.PROTOCOL_HTTP,
        peer: bytes = b"",
    ) -> Answer:
        """One announce; `peer` is a peer id in place of one made of the name. `passkey` is the member's general one unless another is given."""
        request = AnnounceRequest(
            hashed,
            peer or peer_id(name),
            port,
            up,
            down,
            left,
            event,
            numwant,
            key,
            compact=compact,
            no_peer_id=False,
            passkey=b"",
        )
        shown = general_key(member) if passkey is None else passkey
        return self.logic.announce(request, shown.encode("latin-1"), address, protocol)
