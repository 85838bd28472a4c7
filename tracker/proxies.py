"""Whose request it is behind reverse proxies: the right-most hop that is none of ours."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

_NAME: Final = b"\r\nx-forwarded-for:"
_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"
_BITS: Final = 128


class TrustedProxies:
    """Reads X-Forwarded-For, and believes it only as far as proxies of ours wrote it.

    A proxy adds the address it was called from at the right end, so what stands left of the
    first foreign hop may be a lie of that one. X-Real-IP, Forwarded and their kin are never
    read.
    """

    def __init__(self, networks: Sequence[str] = ()) -> None:
        """`networks` are addresses and ranges (CIDR). Raises ValueError."""
        self._networks = [_mapped_network(text) for text in networks]

    def trusts(self, address: bytes) -> bool:
        """Whether this address (4 or 16 bytes) is a proxy of ours."""
        number = int.from_bytes(_mapped(address), "big")
        return any(number >> shift == prefix for shift, prefix in self._networks)

    def client(self, address: bytes, head: bytes) -> bytes | None:
        """The client behind a trusted proxy at `address`, 4 or 16 bytes; empty on a unix socket.

        `head` is the raw request head. None where nobody says whose request it is: an entry
        that is no address, or no entry on a unix socket. A proxy that is called as itself
        (no header at all) is its own client.
        """
        found: bytes | None = address or None
        for entry in reversed(_forwarded_for(head)):
            found = _read_entry(entry)
            if found is None or not self.trusts(found):
                return found
        return found


def _forwarded_for(head: bytes) -> list[bytes]:
    """The entries of all X-Forwarded-For lines, in the order they were added."""
    entries: list[bytes] = []
    lowered = head.lower()
    at = lowered.find(_NAME)
    while at >= 0:
        start = at + len(_NAME)
        end = head.find(b"\r\n", start)
        entries += head[start : end if end >= 0 else len(head)].split(b",")
        at = lowered.find(_NAME, start)
    return entries


def _read_entry(entry: bytes) -> bytes | None:
    """An address, IPv6 also in brackets, either also with a port."""
    text = entry.strip().decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        raw = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None
    return raw[12:] if raw.startswith(_MAPPED_PREFIX) else raw


def _mapped(address: bytes) -> bytes:
    return _MAPPED_PREFIX + address if len(address) == 4 else address


def _mapped_network(text: str) -> tuple[int, int]:
    """Bits to cut off an address of 128, and what is left of one inside."""
    network = ipaddress.ip_network(text, strict=False)
    shift = network.max_prefixlen - network.prefixlen
    first = int.from_bytes(_mapped(network.network_address.packed), "big")
    return shift, first >> shift
