"""Bencoded replies (BEP 3): written by hand, keys in order, never parsed here."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop
from typing import Final, NamedTuple

V4_SIZE: Final = 6
"""Bytes of a compact IPv4 peer: address and port, big-endian (BEP 23)."""
V6_SIZE: Final = 18
"""Bytes of a compact IPv6 peer (BEP 7)."""


class ListedPeer(NamedTuple):
    """A peer for a dictionary reply: its id and its compact endpoint of 6 or 18 bytes."""

    peer_id: bytes
    endpoint: bytes


class AnnounceReply(NamedTuple):
    """An answer to an announce before it is written for one protocol; times in seconds."""

    complete: int
    incomplete: int
    interval: int
    min_interval: int
    peers4: bytes
    peers6: bytes


def write_reply(reply: AnnounceReply) -> bytes:
    """The compact form (BEP 23, BEP 7); `peers6` appears only where there is one."""
    complete, incomplete, interval, shortest, peers4, peers6 = reply
    # The peers are joined, as formatting them in costs more.
    body = (
        b"d8:completei%de10:incompletei%de8:intervali%de12:min intervali%de5:peers%d:"
        % (complete, incomplete, interval, shortest, len(peers4))
        + peers4
    )
    if peers6:
        return b"%b6:peers6%d:%be" % (body, len(peers6), peers6)
    return body + b"e"


def write_listed_reply(reply: AnnounceReply, peers: list[ListedPeer], *, with_id: bool) -> bytes:
    """The dictionary form of BEP 3, for `compact=0`; without ids for `no_peer_id=1`."""
    listed = b"".join([_listed_peer(peer, with_id=with_id) for peer in peers])
    return b"d8:completei%de10:incompletei%de8:intervali%de12:min intervali%de5:peersl%bee" % (
        reply.complete,
        reply.incomplete,
        reply.interval,
        reply.min_interval,
        listed,
    )


def _listed_peer(peer: ListedPeer, *, with_id: bool) -> bytes:
    raw = peer.endpoint[:-2]
    address = inet_ntop(AF_INET if len(raw) == 4 else AF_INET6, raw).encode("ascii")
    port = int.from_bytes(peer.endpoint[-2:], "big")
    name = b"7:peer id20:" + peer.peer_id if with_id else b""
    return b"d2:ip%d:%b%b4:porti%dee" % (len(address), address, name, port)


def write_failure(text: str, retry_minutes: int = 0) -> bytes:
    """`failure reason`, and `retry in` as minutes in text where the cause is temporary."""
    reason = text.encode("utf-8")
    body = b"d14:failure reason%d:%b" % (len(reason), reason)
    if retry_minutes > 0:
        minutes = b"%d" % retry_minutes
        body += b"8:retry in%d:%b" % (len(minutes), minutes)
    return body + b"e"
