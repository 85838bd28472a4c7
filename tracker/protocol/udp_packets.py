"""UDP tracker packets (BEP 15) and their options (BEP 41): any bytes give one reading.

Numbers mean what they mean over HTTP (`tracker.protocol.announce`): `uploaded` and
`downloaded` of 2^63 and above are refused, such a `left` is unknown, a negative `num_want` is
the default, an unknown event is none. The address inside the packet is ignored. `key` is
spelled as libtorrent spells it over HTTP, so that one client is one on both; 0 is none.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from tracker.protocol.announce import (
    NUMWANT_CEILING,
    NUMWANT_DEFAULT,
    TOTAL_LIMIT,
    AnnounceRequest,
)
from tracker.protocol.bencode import AnnounceReply
from tracker.protocol.passkeys import PASSKEY_DIGITS
from tracker.protocol.refusals import Refusal
from tracker.wire import (
    EVENT_COMPLETED,
    EVENT_NONE,
    EVENT_STARTED,
    EVENT_STOPPED,
    UNKNOWN_LEFT,
)

ACTION_CONNECT: Final = 0
ACTION_ANNOUNCE: Final = 1
ACTION_SCRAPE: Final = 2
ACTION_ERROR: Final = 3
CONNECT_MAGIC: Final = (0x41727101980).to_bytes(8, "big")
"""Stands in a connect request where others have a connection id."""
ANNOUNCE_SIZE: Final = 98
"""Bytes of an announce before its options."""
URL_LIMIT: Final = 512
"""Most bytes of path and query, all parts together."""

_HEAD: Final = struct.Struct(">8sI4s")
# head, info hash, peer id, downloaded, left, uploaded, event, address, key, num_want, port
_ANNOUNCE: Final = struct.Struct(">16x20s20sQQQI4xIiH")
_CONNECTED: Final = struct.Struct(">I4s8s")
_ANNOUNCED: Final = struct.Struct(">I4sIII")
_ERROR: Final = struct.Struct(">I4s")
_EVENTS: Final = (EVENT_NONE, EVENT_COMPLETED, EVENT_STARTED, EVENT_STOPPED)
_LEAST_SIZES: Final = {ACTION_CONNECT: 16, ACTION_ANNOUNCE: ANNOUNCE_SIZE, ACTION_SCRAPE: 36}
_END: Final = 0
_NOTHING: Final = 1
_URL: Final = 2
_ANNOUNCE_PATH: Final = b"/announce/"
# What libtorrent sends for an announce URL with the key in its path: one option.
_USUAL_OPTION: Final = bytes((_URL, len(_ANNOUNCE_PATH) + PASSKEY_DIGITS)) + _ANNOUNCE_PATH
_USUAL_SIZE: Final = ANNOUNCE_SIZE + len(_USUAL_OPTION) + PASSKEY_DIGITS


class PacketHead(NamedTuple):
    """What every request starts with; ids are opaque bytes."""

    connection_id: bytes
    action: int
    transaction_id: bytes


def read_head(packet: bytes) -> PacketHead | None:
    """The head of a request, or None for what is no whole connect, announce or scrape."""
    if len(packet) < _HEAD.size:
        return None
    connection_id, action, _ = fields = _HEAD.unpack_from(packet)
    least = _LEAST_SIZES.get(action)
    if least is None or len(packet) < least:
        return None
    if action == ACTION_CONNECT and connection_id != CONNECT_MAGIC:
        return None
    return tuple.__new__(PacketHead, fields)


def transaction_of(answer: bytes) -> bytes:
    """The transaction id of any answer written here."""
    return answer[4:8]


def parse_announce_packet(packet: bytes) -> AnnounceRequest:
    """Read an announce of at least ANNOUNCE_SIZE bytes. Raises Refusal."""
    info_hash, peer_id, downloaded, left, uploaded, event, key, numwant, port = (
        _ANNOUNCE.unpack_from(packet)
    )
    if port == 0:
        raise Refusal("port_invalid", "Invalid port")
    if uploaded >= TOTAL_LIMIT:
        raise Refusal("uploaded_invalid", "Invalid uploaded")
    if downloaded >= TOTAL_LIMIT:
        raise Refusal("downloaded_invalid", "Invalid downloaded")
    fields = (
        info_hash,
        peer_id,
        port,
        uploaded,
        downloaded,
        left if left < TOTAL_LIMIT else UNKNOWN_LEFT,
        _EVENTS[event] if event < len(_EVENTS) else EVENT_NONE,
        NUMWANT_DEFAULT if numwant < 0 else min(numwant, NUMWANT_CEILING),
        b"%08X" % key if key else b"",
        True,  # compact
        True,  # no_peer_id
        read_passkey_option(packet),
    )
    # Without the call of a named tuple's own constructor, a third of this function's time.
    return tuple.__new__(AnnounceRequest, fields)


def read_passkey_option(packet: bytes) -> bytes:
    """The passkey in an announce's options, empty where there is none. Raises Refusal.

    As over HTTP it stands in the path, `/announce/<key>`, or in the query, `passkey=<key>`.
    """
    if len(packet) == ANNOUNCE_SIZE:
        return b""
    if packet.startswith(_USUAL_OPTION, ANNOUNCE_SIZE):
        usual = packet[_USUAL_SIZE - PASSKEY_DIGITS : _USUAL_SIZE]
        ends = len(packet) == _USUAL_SIZE or packet[_USUAL_SIZE : _USUAL_SIZE + 1] == b"\0"
        if ends and b"?" not in usual:
            return usual
    path, _, query = read_url_options(packet, ANNOUNCE_SIZE).partition(b"?")
    in_path = path[len(_ANNOUNCE_PATH) :] if path.startswith(_ANNOUNCE_PATH) else b""
    pairs = [pair.partition(b"=") for pair in query.split(b"&")]
    given = [value for name, _, value in pairs if name == b"passkey"]
    if len(given) > 1:
        raise Refusal("duplicate", "Duplicate passkey")
    in_query = given[0] if given else b""
    if b"?" in in_query:
        raise Refusal("second_question_mark", "A second ? stands where & belongs.")
    if in_path and in_query:
        raise Refusal("passkey_twice", "Passkey given twice")
    return in_path or in_query


def read_url_options(packet: bytes, at: int) -> bytes:
    """Path and query in the options that start `at`: the URL parts one after the other.

    Unknown options are skipped. Raises Refusal.
    """
    url = b""
    end = len(packet)
    while at < end and packet[at] != _END:
        kind = packet[at]
        at += 1
        if kind == _NOTHING:
            continue
        start = at + 1
        at = start + (packet[at] if at < end else 0)
        if start > end or at > end:
            raise Refusal("options_broken", "Broken options")
        if kind == _URL:
            url += packet[start:at]
            if len(url) > URL_LIMIT:
                raise Refusal("url_too_long", "The announce URL is too long.")
    return url


def write_connected(transaction_id: bytes, connection_id: bytes) -> bytes:
    """The answer to connect, 16 bytes like its request."""
    return _CONNECTED.pack(ACTION_CONNECT, transaction_id, connection_id)


def write_announced(transaction_id: bytes, reply: AnnounceReply, *, by_v4: bool) -> bytes:
    """The answer to an announce: peers of the asker's own address family only (BEP 15)."""
    head = _ANNOUNCED.pack(
        ACTION_ANNOUNCE, transaction_id, reply.interval, reply.incomplete, reply.complete
    )
    return head + (reply.peers4 if by_v4 else reply.peers6)


def write_error(transaction_id: bytes, text: str) -> bytes:
    """An error packet with one of our fixed texts."""
    return _ERROR.pack(ACTION_ERROR, transaction_id) + text.encode("utf-8")
