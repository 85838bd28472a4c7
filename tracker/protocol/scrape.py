"""Scrapes over HTTP (BEP 48) and UDP (BEP 15): any bytes give one reading or one refusal.

`downloaded` is always 0: a tracker knows who is in a swarm, completed downloads are counted by
the ledger. Over HTTP a hash nobody may see is left out; over UDP, where figures have no names,
it gets zeros, as an empty swarm would.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from tracker.protocol.announce import unescape
from tracker.protocol.refusals import Refusal
from tracker.protocol.udp_packets import ACTION_SCRAPE, read_url_options

HASHES_LIMIT: Final = 74
"""Most hashes of one scrape, as fit a UDP packet (BEP 15)."""
_HASH: Final = 20
_UDP_HEAD: Final = 16
_SCRAPED: Final = struct.Struct(">I4s")
_FIGURES: Final = struct.Struct(">III")
_PACKED: Final = struct.Struct("<20sII")
_PATH: Final = b"/scrape/"
_TOO_MANY: Final = ("info_hash_many", f"Too many info_hashes: at most {HASHES_LIMIT}")


class ScrapeRequest(NamedTuple):
    """Hashes of 20 bytes, each once and in order; `passkey` is empty where none was sent."""

    hashes: tuple[bytes, ...]
    passkey: bytes


class SwarmFigures(NamedTuple):
    """How many seeders and how many others a swarm has."""

    complete: int
    incomplete: int


Figures = Mapping[bytes, SwarmFigures]
"""What a scrape found, by hash."""


def parse_scrape(query: bytes) -> ScrapeRequest:
    """Read the query of a scrape, without its leading `?`. Raises Refusal."""
    hashes: dict[bytes, None] = {}
    passkeys: list[bytes] = []
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"info_hash":
            hashes[_read_hash(value)] = None
            if len(hashes) > HASHES_LIMIT:
                raise Refusal(*_TOO_MANY)
        elif name == b"passkey":
            passkeys.append(value)
    if len(passkeys) > 1:
        raise Refusal("duplicate", "Duplicate passkey")
    passkey = passkeys[0] if passkeys else b""
    if b"?" in passkey:
        raise Refusal("second_question_mark", "A second ? stands where & belongs.")
    if not hashes:
        raise Refusal("info_hash_missing", "Missing info_hash")
    return ScrapeRequest(tuple(hashes), passkey)


def _read_hash(raw: bytes) -> bytes:
    info_hash = unescape(raw)
    if info_hash is None:
        raise Refusal("info_hash_escape", "Invalid info_hash: broken percent escape")
    if len(info_hash) != _HASH:
        raise Refusal("info_hash_length", "Invalid info_hash length")
    return info_hash


def write_scrape(figures: Figures, min_interval: int) -> bytes:
    """The bencoded answer, hashes in order; `min_interval` in seconds."""
    files = b"".join(
        b"20:%bd8:completei%de10:downloadedi0e10:incompletei%dee"
        % (info_hash, found.complete, found.incomplete)
        for info_hash, found in sorted(figures.items())
    )
    return b"d5:filesd%be5:flagsd20:min_request_intervali%deee" % (files, min_interval)


def parse_scrape_packet(packet: bytes) -> ScrapeRequest:
    """Read a scrape of at least one hash. Raises Refusal.

    BEP 15 gives a scrape nothing but hashes; options with a URL (BEP 41) may follow them, from
    the first place on where the rest of the packet is such.
    """
    end, passkey = len(packet), b""
    for at in range(_UDP_HEAD + _HASH, end, _HASH):
        # Options start with their kind, 2; a hash may too, but is hardly followed by a URL.
        if packet[at] <= 2 and (found := _passkey_option(packet, at)):
            end, passkey = at, found
            break
    body = packet[_UDP_HEAD:end]
    if len(body) // _HASH > HASHES_LIMIT:
        raise Refusal(*_TOO_MANY)
    # A rest that is shorter than a hash is padding, as some clients send after announces.
    hashes = tuple(body[at : at + _HASH] for at in range(0, len(body) - _HASH + 1, _HASH))
    return ScrapeRequest(hashes, passkey)


def _passkey_option(packet: bytes, at: int) -> bytes:
    """The passkey in options that start there, empty where there are none."""
    try:
        path, _, query = read_url_options(packet, at).partition(b"?")
    except Refusal:
        return b""
    if path.startswith(_PATH):
        return path[len(_PATH) :]
    pairs = [pair.partition(b"=") for pair in query.split(b"&")]
    return next((value for name, _, value in pairs if name == b"passkey"), b"")


def write_scraped(transaction_id: bytes, hashes: tuple[bytes, ...], figures: Figures) -> bytes:
    """The answer to a scrape over UDP: seeders, completed, leechers of each hash in turn."""
    nothing = SwarmFigures(0, 0)
    found = [figures.get(info_hash, nothing) for info_hash in hashes]
    return _SCRAPED.pack(ACTION_SCRAPE, transaction_id) + b"".join(
        [_FIGURES.pack(one.complete, 0, one.incomplete) for one in found]
    )


def pack_figures(figures: Figures) -> bytes:
    """Figures as one shard hands them to another."""
    return b"".join([_PACKED.pack(info_hash, *found) for info_hash, found in figures.items()])


def unpack_figures(packed: bytes) -> dict[bytes, SwarmFigures]:
    """What `pack_figures` packed. Raises struct.error on a torn block."""
    return {
        info_hash: SwarmFigures(complete, incomplete)
        for info_hash, complete, incomplete in _PACKED.iter_unpack(packed)
    }
