"""Listening sockets handed to a child of `trackarr up`, so that it can come and go unnoticed."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Final

LISTEN_FDS: Final = "TRACKARR_LISTEN_FDS"
"""Names each kind of socket with its descriptors: `http=5,6 udp=7 shard=9`."""
HTTP: Final = "http"
UDP: Final = "udp"
SHARD: Final = "shard"

Sockets = Mapping[str, Sequence[socket.socket]]


def descriptors(sockets: Sockets) -> tuple[int, ...]:
    """What the child has to inherit."""
    return tuple(one.fileno() for kind in sockets.values() for one in kind)


def listen_fds(sockets: Sockets) -> str:
    """The value of TRACKARR_LISTEN_FDS for these sockets."""
    return " ".join(
        f"{kind}={','.join(str(one.fileno()) for one in given)}" for kind, given in sockets.items()
    )


def inherited(kind: str) -> list[socket.socket] | None:
    """Our own copies of the sockets of a kind; None where nothing was handed over."""
    given = dict(word.split("=", 1) for word in os.environ.get(LISTEN_FDS, "").split())
    if kind not in given:
        return None
    return [socket.socket(fileno=int(number)) for number in given[kind].split(",") if number]
