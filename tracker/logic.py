"""An announce from request to reply, the same for every protocol: policies, swarm, record."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol
from zlib import crc32

from tracker.counters import KINDS, Counters
from tracker.policies.accounts import check_account, check_download_right
from tracker.policies.addresses import AddressPolicy
from tracker.policies.ask import Access, Ask, Policy
from tracker.policies.clients import check_client
from tracker.policies.keys import KeyPolicy
from tracker.policies.pace import PacePolicy
from tracker.policies.ports import check_port
from tracker.policies.seats import make_room
from tracker.policies.torrents import check_torrent
from tracker.protocol.announce import NUMWANT_DEFAULT, AnnounceRequest
from tracker.protocol.bencode import V4_SIZE, AnnounceReply, ListedPeer
from tracker.protocol.passkeys import PasskeyCheck
from tracker.protocol.peer_ids import client_tag
from tracker.protocol.refusals import Refusal, unavailable
from tracker.swarm import Swarm
from tracker.swarms import Departed, Swarms
from tracker.wire import (
    EVENT_EXPIRED,
    EVENT_STARTED,
    EVENT_STOPPED,
    FLAG_LATE,
    PROTOCOL_HTTP,
    PROTOCOL_UDP,
    RECORD,
)

_MAPPED: Final = bytes(10) + b"\xff\xff"
_LATE_SECONDS: Final = 60
_PORT: Final = struct.Struct(">H")
_EXPIRED_A_TICK: Final = 256
_made: Final = tuple.__new__


class RecordSink(Protocol):
    """Where records go; an announce may be answered once they are acknowledged there."""

    @property
    def accepting(self) -> bool:
        """Whether an announce taken now has a chance to be acknowledged."""
        ...

    def append(self, record: bytes) -> None: ...


class Answer(NamedTuple):
    """A reply; `listed` is there only for a client that wants dictionaries (`compact=0`)."""

    reply: AnnounceReply
    listed: list[ListedPeer] | None


class Logic:
    """Announces of one shard. Not for more than one thread."""

    def __init__(
        self,
        *,
        access: Access,
        swarms: Swarms,
        sink: RecordSink,
        passkeys: PasskeyCheck,
        clock: Callable[[], int],
        random: Callable[[], float],
        counters: Counters,
    ) -> None:
        """`clock` gives microseconds, `random` numbers in [0, 1)."""
        self._access = access
        self._swarms = swarms
        self._sink = sink
        self._clock = clock
        self._random = random
        self._counters = counters
        self._policies: tuple[Policy, ...] = (
            KeyPolicy(access, passkeys),
            check_account,
            AddressPolicy(access),
            check_torrent,
            check_client,
            check_port,
            check_download_right,
            PacePolicy(swarms.peers_of),
        )

    def announce(
        self, request: AnnounceRequest, passkey: bytes, address: bytes, protocol: int
    ) -> Answer:
        """Take an announce in and record it. `address` is the peer's own, 4 or 16 bytes.

        The answer must not leave before the sink has acknowledged. Raises Refusal, and
        nothing was recorded then.
        """
        if not self._sink.accepting:
            raise unavailable()
        if not self._access.loaded:
            raise Refusal("starting", "The tracker is starting.", 1)
        at = self._clock()
        ask = Ask(request, passkey, address, access=self._access, now=at // 1_000_000)
        if ask.torrent:
            ask.swarm = self._swarms.find(ask.torrent)
        for policy in self._policies:
            policy(ask)
        return self._take_in(ask, at, protocol)

    def expire(self) -> None:
        """Drop some of the peers that fell silent, and record it.

        How long one may be silent is a rule of the site, so that has to be known.
        """
        if not (self._sink.accepting and self._access.loaded):
            return
        at = self._clock()
        self._swarms.life = self._access.rules.peer_life
        for departed in self._swarms.expire(at // 1_000_000, _EXPIRED_A_TICK):
            self._counters.expired += 1
            self._record_departed(at, departed)

    def _take_in(self, ask: Ask, at: int, protocol: int) -> Answer:
        request, rules, swarm = ask.request, ask.rules, ask.swarm
        endpoint = ask.address + _PORT.pack(request.port)
        # As records hold it: 0 when none was sent.
        key = crc32(request.key)
        roll = self._random()
        least, width = rules.spread
        interval = int(least + roll * width)
        up, down, left, late = request.uploaded, request.downloaded, request.left, False
        slot = swarm.find(ask.account, request.peer_id) if swarm is not None else -1
        if swarm is not None and slot >= 0:
            seen, known_key, known_up, known_down, known_left, _, _ = swarm.state(slot)
            if up < known_up or down < known_down:
                late = _is_late(request.event, ask.now - seen, same_key=key == known_key)
                if late:
                    up, down, left = known_up, known_down, known_left
        elif request.event != EVENT_STOPPED:
            swarm, slot = self._take_seat(ask, endpoint, at)
        self._record(ask, at, key=key, protocol=protocol, interval=interval, late=late)
        if swarm is None or request.event == EVENT_STOPPED:
            if swarm is not None and slot >= 0:
                self._swarms.leave(swarm, slot)
            return self._reply(ask, swarm, -1, interval=interval, protocol=protocol, roll=roll)
        slot = swarm.update(
            slot,
            endpoint,
            ask.now,
            key=key,
            up=up,
            down=down,
            left=left,
            interval=interval,
            by_udp=protocol == PROTOCOL_UDP,
        )
        return self._reply(ask, swarm, slot, interval=interval, protocol=protocol, roll=roll)

    def _take_seat(self, ask: Ask, endpoint: bytes, at: int) -> tuple[Swarm, int]:
        leaving = make_room(ask, endpoint)
        if ask.swarm is not None and leaving >= 0:
            self._counters.replaced += 1
            self._record_departed(at, self._swarms.leave(ask.swarm, leaving))
        return self._swarms.join(
            ask.torrent,
            ask.account,
            ask.request.peer_id,
            ask.now,
            endpoint=endpoint,
            seeding=ask.request.left == 0,
        )

    def _reply(
        self,
        ask: Ask,
        swarm: Swarm | None,
        slot: int,
        *,
        interval: int,
        protocol: int,
        roll: float,
    ) -> Answer:
        """The reply for the peer in `slot`; one that is not in the swarm (-1) gets no peers.

        Over UDP there is room for peers of the asker's family only (BEP 15).
        """
        request, rules = ask.request, ask.rules
        want = rules.numwant_default if request.numwant == NUMWANT_DEFAULT else request.numwant
        if want > rules.numwant_max:  # noqa: PLR1730  min() is a call
            want = rules.numwant_max
        peers4 = peers6 = b""
        listed: list[ListedPeer] | None = None if request.compact else []
        if swarm is not None and slot >= 0 and want > 0:
            if protocol == PROTOCOL_UDP:
                if len(ask.address) == 4:
                    peers4 = swarm.choose4(slot, want, roll)
                else:
                    peers6 = swarm.choose6(slot, want, roll)
            elif request.compact:
                peers4, peers6 = swarm.choose(slot, want, roll)
            else:
                listed = swarm.choose_listed(slot, want, roll)
        complete, incomplete = (0, 0) if swarm is None else (swarm.seeders, swarm.leechers)
        shortest = rules.min_interval
        if interval < shortest:  # noqa: PLR1730  min() is a call
            shortest = interval
        # Without the calls of the named tuples' own constructors, which cost as much as the rest.
        reply = _made(AnnounceReply, (complete, incomplete, interval, shortest, peers4, peers6))
        return _made(Answer, (reply, listed))

    def _record(
        self, ask: Ask, at: int, *, key: int, protocol: int, interval: int, late: bool
    ) -> None:
        request, address = ask.request, ask.address
        by_v4 = len(address) == 4
        counters = self._counters
        counters.announces += 1
        counters.answered[protocol * KINDS + request.event] += 1
        if late:
            counters.late += 1
        self._sink.append(
            RECORD.pack(
                at,
                ask.torrent,
                ask.account,
                request.peer_id,
                key,
                request.uploaded,
                request.downloaded,
                request.left,
                request.event,
                4 if by_v4 else 6,
                request.port,
                protocol,
                FLAG_LATE if late else 0,
                interval,
                _MAPPED + address if by_v4 else address,
                client_tag(request.peer_id),
            )
        )

    def _record_departed(self, at: int, departed: Departed) -> None:
        """State that a peer is gone; where it had two families, under its IPv4 endpoint."""
        peer = departed.peer
        endpoint = departed.endpoints[0]
        by_v4 = len(endpoint) == V4_SIZE
        self._sink.append(
            RECORD.pack(
                at,
                departed.torrent,
                peer.account,
                peer.peer_id,
                peer.key,
                peer.up,
                peer.down,
                peer.left,
                EVENT_EXPIRED,
                4 if by_v4 else 6,
                int.from_bytes(endpoint[-2:], "big"),
                PROTOCOL_UDP if peer.by_udp else PROTOCOL_HTTP,
                0,
                peer.interval,
                _MAPPED + endpoint[:4] if by_v4 else endpoint[:16],
                client_tag(peer.peer_id),
            )
        )


def _is_late(event: int, silence: int, *, same_key: bool) -> bool:
    """Whether lower totals come after higher ones: a retry, or the other address family.

    A client that starts over says `started`. `stopped` is never late: it ends a session
    whatever it says (some clients send zeros with it).
    """
    return same_key and silence < _LATE_SECONDS and event not in {EVENT_STARTED, EVENT_STOPPED}
