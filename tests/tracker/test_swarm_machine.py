"""Announces of every kind against a plain reference: members, counts, choices, departures."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.tracker.announcer import Announcer
from tests.tracker.reference_swarms import Client, ReferencePeer, ReferenceSwarms
from tests.tracker.running_tracker import info_hash, peer_id, torrent
from tracker import wire
from tracker.logic import Answer
from tracker.protocol.bencode import V4_SIZE, V6_SIZE
from tracker.protocol.refusals import Refusal
from tracker.rules import Rules
from tracker.swarms import Swarms

TORRENTS = (10, 11)
ALIAS = b"v2 hash, cut short.."
RULES = Rules(interval=60, seats=2, numwant_default=2, numwant_max=3, announces_per_minute=0)
LIFE = RULES.peer_life
TOTALS = st.integers(0, 3) | st.integers(0, 2**63 - 1)


class Said(NamedTuple):
    """One announce as a client may state it."""

    number: int
    member: int
    name: str
    by_v6: bool
    port: int
    up: int
    down: int
    left: int
    event: int
    key: bytes
    numwant: int
    may_alias: bool
    form: str
    roll: float

    @property
    def client(self) -> Client:
        return Client(self.number, self.member, peer_id(self.name))

    @property
    def endpoint(self) -> bytes:
        """Two clients of a member meet at the same address and port now and then."""
        address = bytes((10, 0, 0, self.member))
        if self.by_v6:
            address = bytes((32, self.member)) + bytes(14)
        return address + self.port.to_bytes(2, "big")

    @property
    def by_alias(self) -> bool:
        return self.may_alias and self.number == TORRENTS[0]


SAID = st.builds(
    Said,
    number=st.sampled_from(TORRENTS),
    member=st.integers(1, 4),
    name=st.sampled_from("abcd"),
    by_v6=st.booleans(),
    port=st.sampled_from([5000, 5001, 5002]),
    up=TOTALS,
    down=TOTALS,
    left=st.sampled_from([0, 0, 1, 2, wire.UNKNOWN_LEFT]),
    event=st.sampled_from(
        [wire.EVENT_NONE] * 3 + [wire.EVENT_STARTED, wire.EVENT_COMPLETED, wire.EVENT_STOPPED]
    ),
    key=st.sampled_from([b"", b"k", b"other"]),
    numwant=st.integers(-1, 5),
    may_alias=st.booleans(),
    form=st.sampled_from(["compact", "listed", "udp"]),
    roll=st.floats(0, 1, exclude_max=True),
)


class AnnounceMachine(RuleBasedStateMachine):
    """Four members with up to four clients each announce two torrents, one under two hashes."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = Announcer()
        self.tracker.access.rules = RULES
        self.tracker.swarms.life = LIFE
        for number in TORRENTS:
            alias = ALIAS if number == TORRENTS[0] else wire.NO_HASH
            entry = torrent(number, alias=alias)
            self.tracker.access.table.put_torrents(wire.pack_torrent(entry))
        self.reference = ReferenceSwarms(LIFE, RULES.seats)

    @rule(said=SAID)
    def announce(self, said: Said) -> None:
        tracker, reference = self.tracker, self.reference
        client, endpoint = said.client, said.endpoint
        stopped = said.event == wire.EVENT_STOPPED
        leaving: set[Client] | None = set()
        if client not in reference.peers and not stopped:
            leaving = reference.leaving_for(client, endpoint, tracker.now)
        late = reference.is_late(
            client, up=said.up, down=said.down, key=said.key, event=said.event, now=tracker.now
        )
        tracker.sink.records.clear()
        answer = self.tell(said)
        if leaving is None or isinstance(answer, str):
            assert (answer, leaving, tracker.sink.records) == ("seats_taken", None, [])
            return
        *departed, record = tracker.sink.records
        assert len(departed) == (len(leaving) > 0)
        for one in departed:
            assert Client(one.torrent, one.account, one.peer) in leaving
            self.check_departed(one)
        assert (record.torrent, record.account, record.peer) == client
        assert (record.up, record.down, record.left) == (said.up, said.down, said.left)
        assert (record.event, record.flags) == (said.event, wire.FLAG_LATE if late else 0)
        if stopped:
            reference.peers.pop(client, None)
            assert offered(answer) == Counter()
        else:
            peer = reference.peers.setdefault(client, ReferencePeer())
            peer.seen, peer.key, peer.interval = tracker.now, said.key, answer.reply.interval
            if not late:
                peer.up, peer.down, peer.left = said.up, said.down, said.left
            peer.endpoints[len(endpoint)] = endpoint
            self.check_choice(said, answer)
        assert (answer.reply.complete, answer.reply.incomplete) == reference.counts(said.number)

    def tell(self, said: Said) -> Answer | str:
        """The tracker's answer, or the code of its refusal."""
        self.tracker.roll = said.roll
        try:
            return self.tracker.announce(
                said.member,
                said.name,
                up=said.up,
                down=said.down,
                left=said.left,
                event=said.event,
                key=said.key,
                address=said.endpoint[:-2],
                port=said.port,
                numwant=said.numwant,
                hashed=ALIAS if said.by_alias else info_hash(said.number),
                compact=said.form != "listed",
                protocol=wire.PROTOCOL_UDP if said.form == "udp" else wire.PROTOCOL_HTTP,
            )
        except Refusal as refusal:
            return refusal.code

    def check_choice(self, said: Said, answer: Answer) -> None:
        client = said.client
        widths = {len(said.endpoint)} if said.form == "udp" else {V4_SIZE, V6_SIZE}
        want = min(RULES.numwant_default if said.numwant < 0 else said.numwant, RULES.numwant_max)
        leechers = self.reference.possible(client, widths, seeding=False)
        seeders = self.reference.possible(client, widths, seeding=True)
        if self.reference.peers[client].seeding:
            seeders.clear()
        chosen = offered(answer)
        assert chosen <= leechers + seeders
        assert chosen.total() == min(want, leechers.total() + seeders.total())
        if min(leechers.total(), seeders.total()) >= want and not leechers & seeders:
            assert 0 <= (chosen & leechers).total() - (chosen & seeders).total() <= 1
        for listed in answer.listed or ():
            owners = [
                other.peer_id
                for other, peer in self.reference.of_torrent(client.torrent).items()
                if listed.endpoint in peer.endpoints.values() and other != client
            ]
            assert listed.peer_id in owners

    def check_departed(self, record: wire.PeerRecord) -> None:
        peer = self.reference.peers.pop(Client(record.torrent, record.account, record.peer))
        assert record.event == wire.EVENT_EXPIRED
        assert (record.up, record.down, record.left) == (peer.up, peer.down, peer.left)
        endpoint = peer.endpoints[min(peer.endpoints)]
        assert record.address.endswith(endpoint[:-2])
        assert record.family == (4 if len(endpoint) == V4_SIZE else 6)

    @rule(seconds=st.sampled_from([1, 30, 61, LIFE // 2, LIFE]))
    def wait(self, seconds: int) -> None:
        now = self.tracker.now = self.tracker.now + seconds
        self.tracker.sink.records.clear()
        self.tracker.logic.expire()
        for record in self.tracker.sink.records:
            client = Client(record.torrent, record.account, record.peer)
            assert now - self.reference.peers[client].seen >= LIFE
            self.check_departed(record)
        assert all(now - peer.seen < LIFE + 120 for peer in self.reference.peers.values())

    @rule()
    def restart(self) -> None:
        before = self.tracker.swarms
        after = Swarms(LIFE)
        for chunk in before.dump_chunks():
            after.load_chunk(chunk, self.tracker.now)
        tracker = Announcer(after)
        tracker.access, tracker.now = self.tracker.access, self.tracker.now
        tracker.logic = tracker.make_logic()
        self.tracker = tracker

    @invariant()
    def all_are_known_as_they_are(self) -> None:
        swarms, reference = self.tracker.swarms, self.reference
        assert swarms.peers == len(reference.peers)
        for client, expected in reference.peers.items():
            swarm = swarms.find(client.torrent)
            assert swarm is not None
            slot = swarm.find(client.account, client.peer_id)
            peer = swarm.peer(slot)
            assert (peer.account, peer.peer_id) == client[1:]
            assert (peer.up, peer.down, peer.left) == (expected.up, expected.down, expected.left)
            assert (peer.seen, peer.interval) == (expected.seen, expected.interval)
            assert swarm.endpoints(slot) == [
                expected.endpoints[width] for width in sorted(expected.endpoints)
            ]
        for member in range(1, 5):
            counted = sum(client.account == member for client in reference.peers)
            assert swarms.peers_of(member) == counted


def offered(answer: Answer) -> Counter[bytes]:
    """The endpoints of an answer, in whichever form it has them."""
    if answer.listed is not None:
        return Counter(peer.endpoint for peer in answer.listed)
    reply = answer.reply
    return Counter(
        peers[at : at + width]
        for peers, width in ((reply.peers4, V4_SIZE), (reply.peers6, V6_SIZE))
        for at in range(0, len(peers), width)
    )


TestAnnounces = AnnounceMachine.TestCase
TestAnnounces.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
