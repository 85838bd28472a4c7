"""Whose request it is: the socket's address, or the right-most hop none of our proxies is."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from fastapi import Request

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class ClientAddresses:
    """Reads X-Forwarded-For, and believes it only as far as proxies of ours wrote it.

    What stands left of the first foreign hop may be a lie of that one. X-Real-IP, Forwarded and
    their kin are never read (design, section 9; the tracker has the same rule).
    """

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        """`trusted` are addresses and ranges (CIDR) of proxies. Raises ValueError."""
        self._trusted = [ipaddress.ip_network(text, strict=False) for text in trusted]

    def client(self, scope: Mapping[str, Any]) -> tuple[str, int]:
        """Address and port of the client as an ASGI scope tells them; port 0 behind a proxy."""
        host, port = scope.get("client") or ("", 0)
        socket_address = read_address(str(host))
        if socket_address is None or not self._trusts(socket_address):
            return str(host), int(port)
        found = socket_address
        for entry in reversed(_forwarded_for(scope)):
            hop = _read_entry(entry)
            if hop is None:
                # Not even our proxy knows who called it: then it is the caller.
                break
            found = hop
            if not self._trusts(hop):
                break
        return str(found), int(port) if found == socket_address else 0

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def client_address_of(request: Request) -> str:
    """The client's address as text, empty where there is none (a test's own client)."""
    return request.client.host if request.client else ""


def known_address(request: Request) -> str | None:
    """The client's address in its one spelling, None where there is none."""
    address = read_address(client_address_of(request))
    return str(address) if address else None


@lru_cache(maxsize=4_096)
def read_address(text: str) -> Address | None:
    """An address, an IPv4 one inside IPv6 as IPv4; None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _forwarded_for(scope: Mapping[str, Any]) -> list[str]:
    """The entries of all X-Forwarded-For lines, in the order they were added."""
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [entry for line in lines for entry in line.decode("latin-1").split(",")]


def _read_entry(entry: str) -> Address | None:
    """An address, IPv6 also in brackets, either also with a port."""
    text = entry.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return read_address(text)
