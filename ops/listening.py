"""Listening sockets on the bound addresses; a taken port is one sentence, not a stack trace."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

from ops.failures import PortTaken
from ops.settings import LOOPBACK, NetworkSettings
from ops.steering import steer

BACKLOG = 1024
RECEIVE_BUFFER = 1 << 20
"""Bytes of datagrams the kernel keeps while the tracker is busy, where its own limit allows."""
_UDP_KEY = "TRACKARR_UDP_PORT"
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def open_listeners(network: NetworkSettings, port: int, *, port_key: str) -> list[socket.socket]:
    """TCP sockets listening on `port` of each bound address, non-blocking.

    `port_key` is the setting the port came from, for the message. A machine without IPv6 lacks
    `::1`: of the default addresses the missing one is passed over. Raises PortTaken.
    """
    return _open_all(network, port, port_key, _listener)


def open_announce_listeners(network: NetworkSettings, path: Path | None) -> list[socket.socket]:
    """What HTTP announces come in by: the tracker's port, and a unix socket where one is set.

    Raises PortTaken.
    """
    listeners = open_listeners(network, network.tracker_port, port_key="TRACKARR_TRACKER_PORT")
    if path is not None:
        try:
            listeners.append(open_unix_listener(path))
        except PortTaken:
            for listener in listeners:
                listener.close()
            raise
    return listeners


def open_unix_listener(path: Path) -> socket.socket:
    """A listening unix socket at `path`, non-blocking; a file a dead program left is replaced.

    Its owner and group may connect. Raises PortTaken when another program listens there or it
    can't be made.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            if path.is_socket():
                path.unlink()
        except OSError:
            # Not there, which is right, or no place for a socket, which bind will tell.
            pass
        else:
            raise PortTaken(f"Another program listens on TRACKARR_TRACKER_SOCKET {path}.")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(BACKLOG)
        listener.settimeout(0)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise PortTaken(
            f"The unix socket TRACKARR_TRACKER_SOCKET {path} can't be made: {reason}."
        ) from None
    return listener


def open_udp_sockets(network: NetworkSettings) -> list[socket.socket]:
    """UDP sockets on the UDP port of each bound address, non-blocking, as `open_listeners`."""
    return _open_all(network, network.udp_port, _UDP_KEY, _udp_socket)


def open_udp_groups(network: NetworkSettings, shards: int) -> list[list[socket.socket]]:
    """For each shard its UDP sockets, one for each bound address; the kernel steers packets.

    Raises PortTaken, also where another program would share its port with us.
    """
    if shards == 1:
        return [open_udp_sockets(network)]
    for probe in open_udp_sockets(network):
        probe.close()
    # Bound in the order of the shards, which is the order the filter counts in.
    groups = [
        _open_all(network, network.udp_port, _UDP_KEY, _shared_udp_socket) for _ in range(shards)
    ]
    for first in groups[0]:
        steer(first, shards)
    return groups


def open_shard_link(folder: Path, shard: int) -> socket.socket:
    """The listening unix socket other shards of this host forward to; `folder` is made private.

    A socket file of an earlier run is replaced.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / f"shard-{shard}.sock").unlink(missing_ok=True)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Unix addresses are short (unix(7): 108 bytes) and data folders may be deep.
        link.bind(f"/proc/self/fd/{opened}/shard-{shard}.sock")
        link.listen(BACKLOG)
        link.settimeout(0)
    except OSError:
        link.close()
        raise
    finally:
        os.close(opened)
    return link


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


def _shared_udp_socket(address: str, port: int) -> socket.socket:
    return _udp_socket(address, port, shared=True)


def _udp_socket(address: str, port: int, *, shared: bool = False) -> socket.socket:
    # No SO_REUSEADDR: with it, UDP lets a second program take the port.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
