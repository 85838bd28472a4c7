"""Listening sockets on the bound addresses; a taken port is one sentence, not a stack trace."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from ops.failures import PortTaken
from ops.settings import LOOPBACK, NetworkSettings

BACKLOG = 1024
RECEIVE_BUFFER = 1 << 20
"""Bytes of datagrams the kernel keeps while the tracker is busy, where its own limit allows."""
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def open_listeners(network: NetworkSettings, port: int, *, port_key: str) -> list[socket.socket]:
    """TCP sockets listening on `port` of each bound address, non-blocking.

    `port_key` is the setting the port came from, for the message. A machine without IPv6 lacks
    `::1`: of the default addresses the missing one is passed over. Raises PortTaken.
    """
    return _open_all(network, port, port_key, _listener)


def open_udp_sockets(network: NetworkSettings) -> list[socket.socket]:
    """UDP sockets on the UDP port of each bound address, non-blocking, as `open_listeners`."""
    return _open_all(network, network.udp_port, "TRACKARR_UDP_PORT", _udp_socket)


def check_ports(network: NetworkSettings) -> None:
    """Raise PortTaken when a port the processes will listen on is in use."""
    for port, key in (
        (network.api_port, "TRACKARR_API_PORT"),
        (network.tracker_port, "TRACKARR_TRACKER_PORT"),
    ):
        for listener in open_listeners(network, port, port_key=key):
            listener.close()
    for datagrams in open_udp_sockets(network):
        datagrams.close()


def _open_all(
    network: NetworkSettings,
    port: int,
    port_key: str,
    open_one: Callable[[str, int], socket.socket],
) -> list[socket.socket]:
    opened: list[socket.socket] = []
    try:
        for address in network.bind:
            try:
                opened.append(open_one(address, port))
            except OSError as error:
                if error.errno in _ABSENT and network.bind == LOOPBACK:
                    continue
                raise PortTaken(_sentence(error, address, port, port_key)) from None
    except PortTaken:
        for listener in opened:
            listener.close()
        raise
    return opened


def _udp_socket(address: str, port: int) -> socket.socket:
    # No SO_REUSEADDR: with it, UDP lets a second program take the port.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        datagrams.bind((address, port))
        datagrams.settimeout(0)
    except OSError:
        datagrams.close()
        raise
    return datagrams


def _listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.settimeout(0)
    except OSError:
        listener.close()
        raise
    return listener


def _sentence(error: OSError, address: str, port: int, key: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {address} is taken by another program; choose another with {key}."
    if error.errno == errno.EACCES:
        return (
            f"Port {port} on {address} may not be opened by this user; choose another with {key}."
        )
    return f"The address {address} of TRACKARR_BIND is not one of this machine."
