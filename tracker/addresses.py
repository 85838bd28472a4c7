"""Socket addresses as the bytes that peers are known by."""

from __future__ import annotations

import socket
from typing import Final

_MAPPED: Final = bytes(10) + b"\xff\xff"
_ADDRESSES_KEPT: Final = 16_384


class AddressReader:
    """Turns what the socket calls return into addresses; remembers the recent ones."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def read(self, where: object) -> bytes:
        """The peer's address as 4 or 16 bytes; an IPv4 one on an IPv6 socket is IPv4."""
        text = str(where[0]) if isinstance(where, tuple) else ""
        known = self._known.get(text)
        if known is not None:
            return known
        if ":" in text:
            raw = socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
            raw = raw[12:] if raw.startswith(_MAPPED) else raw
        else:
            raw = socket.inet_aton(text or "127.0.0.1")
        if len(self._known) >= _ADDRESSES_KEPT:
            self._known.clear()
        self._known[text] = raw
        return raw
