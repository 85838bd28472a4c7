"""The announces of the most frequent clients, read in one go; everything else is left to others.

What is read here means what `http_requests.parse_head` and `announce.parse_announce` say; a
test holds the two equal. What is not plain at once is not judged.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, TypeAlias

from tracker.protocol.announce import (
    EVENTS,
    NUMWANT_DEFAULT,
    AnnounceRequest,
    unescape,
    unescape_hash,
)
from tracker.protocol.http_requests import HEAD_END, BadRequest, stays_open
from tracker.wire import EVENT_NONE

UsualAnnounce: TypeAlias = tuple[AnnounceRequest, bytes, bool]
"""The request, the passkey in its path, and whether the connection may stay open."""

# libtorrent (qBittorrent, Deluge) and Transmission begin alike and differ in the order of the
# rest. Totals of up to 18 digits are below their limits.
_REQUEST: Final = re.compile(
    rb"GET /announce/([0-9a-f]{32}+)\?info_hash=([^& \r\n]{20,60}+)&peer_id=([^& \r\n]{20,60}+)"
    rb"&port=([0-9]{1,5}+)&uploaded=([0-9]{1,18}+)&downloaded=([0-9]{1,18}+)&left=([0-9]{1,18}+)"
    rb"(?:&corrupt=[0-9]++)?+(?:&numwant=([0-9]{1,4}+))?+&key=([0-9A-Fa-f]{1,8}+)"
    rb"(?:&event=([a-z]++))?+(?:&numwant=([0-9]{1,4}+))?+&compact=1(&no_peer_id=1)?+"
    rb"(?:&supportcrypto=1)?+(?:&redundant=[0-9]++)?+(?:&event=([a-z]++))?+ HTTP/1\.1(?=\r\n)"
)
_HEADERS_KEPT: Final = 512


def read_usual_announce(received: bytes) -> UsualAnnounce | None:
    """Read bytes that are one whole announce of a usual form and nothing more, else None."""
    match = _REQUEST.match(received)
    if match is None:
        return None
    kept = _read_headers(received[match.end() :])
    if kept is None:
        return None
    passkey, raw_hash, peer_id, port, up, down, left, early, key, event, late, bare, last = (
        match.groups()
    )
    info_hash = unescape_hash(raw_hash)
    peer = unescape(peer_id) if b"%" in peer_id else peer_id
    number = int(port)
    if (
        info_hash is None
        or peer is None
        or len(info_hash) != 20
        or len(peer) != 20
        or not 1 <= number <= 65_535
        or (early and late)
        or (event and last)
    ):
        return None
    want = early or late
    # Without the call of a named tuple's own constructor, half of this function's time.
    fields = (
        info_hash,
        peer,
        number,
        int(up),
        int(down),
        int(left),
        EVENTS.get(event or last, EVENT_NONE),
        int(want) if want else NUMWANT_DEFAULT,
        key,
        True,
        bare is not None,
        b"",
    )
    return tuple.__new__(AnnounceRequest, fields), passkey, kept


# A client sends the same headers each time, and most members use the same few clients.
@lru_cache(maxsize=_HEADERS_KEPT)
def _read_headers(rest: bytes) -> bool | None:
    """Whether the connection may stay open; None where these are not the whole headers."""
    end = rest.find(HEAD_END)
    if end < 0 or end + len(HEAD_END) != len(rest):
        return None
    try:
        return stays_open(rest[:end], old=False)
    except BadRequest:
        return None
