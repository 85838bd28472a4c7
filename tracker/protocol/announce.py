"""The HTTP announce query: any bytes give one request or one refusal.

Rules, each with one meaning:
- Parameters are split at `&` and at the first `=`. Names are not unescaped. A parameter we
  know may stand once only; others are ignored, `ip` and its kin among them.
- `info_hash`, `peer_id`: percent-escapes in either case, `+` is the byte `+`; exactly 20
  bytes afterwards. A broken escape is refused.
- `port`: 1 to 65535.
- `uploaded`, `downloaded`: decimal digits below 2^63; missing or empty is 0. Negative,
  larger and other values are refused, so they can never become credit.
- `left`: missing, empty, negative, 2^63 and above mean unknown, which is a leecher. What is
  no number is refused.
- `numwant` is a hint: missing, empty, negative and no number mean the default, 0 means none.
- `key` is an opaque byte string. An unknown `event` is none.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tracker.protocol.refusals import Refusal
from tracker.wire import (
    EVENT_COMPLETED,
    EVENT_NONE,
    EVENT_STARTED,
    EVENT_STOPPED,
    UNKNOWN_LEFT,
)

NUMWANT_DEFAULT: Final = -1
"""The client left the number of peers to us."""
NUMWANT_CEILING: Final = 65_535
TOTAL_LIMIT: Final = 1 << 63
_DIGITS_LIMIT: Final = 20
_HASH_SIZE: Final = 20
_HASHES_KEPT: Final = 32_768

EVENTS: Final = {
    b"started": EVENT_STARTED,
    b"completed": EVENT_COMPLETED,
    b"stopped": EVENT_STOPPED,
}
"""Other words mean no event."""
_KNOWN: Final = frozenset(
    (
        b"info_hash",
        b"peer_id",
        b"port",
        b"uploaded",
        b"downloaded",
        b"left",
        b"event",
        b"numwant",
        b"key",
        b"compact",
        b"no_peer_id",
        b"passkey",
    )
)
_HEX: Final = b"0123456789abcdefABCDEF"
_ESCAPES: Final = {
    bytes((high, low)): bytes.fromhex(chr(high) + chr(low)) for high in _HEX for low in _HEX
}


class AnnounceRequest(NamedTuple):
    """A valid announce as the client states it; totals in bytes, `key` and `passkey` raw.

    `numwant` is NUMWANT_DEFAULT or 0 and more. `passkey` is empty where the query has none.
    """

    info_hash: bytes
    peer_id: bytes
    port: int
    uploaded: int
    downloaded: int
    left: int
    event: int
    numwant: int
    key: bytes
    compact: bool
    no_peer_id: bool
    passkey: bytes


def unescape(raw: bytes) -> bytes | None:
    """Percent-decode (RFC 3986 §2.1); None where an escape is broken."""
    parts = raw.split(b"%")
    decoded = [parts[0]]
    for part in parts[1:]:
        byte = _ESCAPES.get(part[:2])
        if byte is None:
            return None
        decoded.append(byte)
        decoded.append(part[2:])
    return b"".join(decoded)


class _Unescaped(dict[bytes, bytes | None]):
    """Decoded info hashes by how they were sent.

    The same few thousand arrive over and over in the same spelling; decoding one costs as much
    as a third of the whole parse. A cache in order of use would touch its neighbours each time,
    and they are not in the processor's.
    """

    def __missing__(self, raw: bytes) -> bytes | None:
        decoded = unescape(raw)
        if decoded is not None and len(decoded) == _HASH_SIZE:
            if len(self) >= _HASHES_KEPT:
                self.clear()
            self[raw] = decoded
        return decoded


unescape_hash: Final = _Unescaped().__getitem__
"""`unescape` for info hashes, which remembers what it found."""


def parse_announce(query: bytes) -> AnnounceRequest:
    """Read the query of an announce, without its leading `?`. Raises Refusal."""
    values = _read_parameters(query)
    get = values.get
    passkey = get(b"passkey", b"")
    if b"?" in passkey:
        raise Refusal("second_question_mark", "A second ? stands where & belongs.")
    # By position: keywords would cost a quarter of the whole parse.
    return AnnounceRequest(
        _read_info_hash(get(b"info_hash")),
        _read_peer_id(get(b"peer_id")),
        _read_port(get(b"port", b"")),
        _read_total("uploaded", get(b"uploaded", b"")),
        _read_total("downloaded", get(b"downloaded", b"")),
        _read_left(get(b"left", b"")),
        EVENTS.get(get(b"event", b""), EVENT_NONE),
        _read_numwant(get(b"numwant", b"")),
        _read_key(get(b"key", b"")),
        get(b"compact") != b"0",
        get(b"no_peer_id") == b"1",
        passkey,
    )


def _read_parameters(query: bytes) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name in _KNOWN:
            if name in values:
                raise Refusal("duplicate", f"Duplicate {name.decode('ascii')}")
            values[name] = value
    return values


def _read_info_hash(raw: bytes | None) -> bytes:
    if not raw:
        raise Refusal("info_hash_missing", "Missing info_hash")
    info_hash = unescape_hash(raw)
    if info_hash is None:
        raise Refusal("info_hash_escape", "Invalid info_hash: broken percent escape")
    if len(info_hash) != _HASH_SIZE:
        if len(info_hash) == 40 and all(byte in _HEX for byte in info_hash):
            raise Refusal("info_hash_hex", "Invalid info_hash: send 20 raw bytes, not 40 hex")
        raise Refusal("info_hash_length", "Invalid info_hash length")
    return info_hash


def _read_peer_id(raw: bytes | None) -> bytes:
    if not raw:
        raise Refusal("peer_id_missing", "Missing peer_id")
    peer_id = unescape(raw) if b"%" in raw else raw
    if peer_id is None:
        raise Refusal("peer_id_escape", "Invalid peer_id: broken percent escape")
    if len(peer_id) != 20:
        raise Refusal("peer_id_length", "Invalid peer_id length")
    return peer_id


def _read_port(raw: bytes) -> int:
    if not raw:
        raise Refusal("port_missing", "Missing port")
    # isdigit of bytes knows ASCII only; int() alone would take signs, blanks and underscores.
    port = int(raw) if len(raw) <= 5 and raw.isdigit() else 0
    if not 1 <= port <= 65_535:
        raise Refusal("port_invalid", "Invalid port")
    return port


def _read_total(name: str, raw: bytes) -> int:
    if not raw:
        return 0
    if raw.isdigit() and len(raw) <= _DIGITS_LIMIT:
        total = int(raw)
        if total < TOTAL_LIMIT:
            return total
    raise Refusal(f"{name}_invalid", f"Invalid {name}")


def _read_left(raw: bytes) -> int:
    if not raw:
        return UNKNOWN_LEFT
    if raw.isdigit():
        left = int(raw) if len(raw) <= _DIGITS_LIMIT else TOTAL_LIMIT
        return left if left < TOTAL_LIMIT else UNKNOWN_LEFT
    if raw[:1] == b"-" and raw[1:].isdigit():
        return UNKNOWN_LEFT
    raise Refusal("left_invalid", "Invalid left")


def _read_numwant(raw: bytes) -> int:
    if not raw.isdigit():
        return NUMWANT_DEFAULT
    return min(int(raw), NUMWANT_CEILING) if len(raw) <= 5 else NUMWANT_CEILING


def _read_key(raw: bytes) -> bytes:
    if b"%" not in raw:
        return raw
    key = unescape(raw)
    return raw if key is None else key
