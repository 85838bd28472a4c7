"""Steers datagrams to the shard of their torrent, in the kernel (socket(7), SO_REUSEPORT)."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

ATTACH_REUSEPORT_CBPF: Final = 51
"""SO_ATTACH_REUSEPORT_CBPF of Linux; the socket module has no name for it."""
_LOAD_LENGTH: Final = 0x80
_JUMP_IF_AT_LEAST: Final = 0x35
_LOAD_WORD: Final = 0x20
_JUMP: Final = 0x05
_MODULO: Final = 0x94
_RETURN: Final = 0x16
# BEP 15: a transaction id stands at 12 in a connect packet, a hash at 16 in all longer ones.
_TRANSACTION_AT: Final = 12
_HASH_AT: Final = 16
_SHORTEST_WITH_HASH: Final = 36


def steer(datagrams: socket.socket, shards: int) -> bool:
    """Let the group of this socket choose among its `shards` members by the hash in a packet.

    The members are numbered as they were bound. False where the kernel refuses: then it spreads
    the packets by their sender, and shards forward what is not theirs.
    """
    program = _program(shards)
    buffer = ctypes.create_string_buffer(program)
    instructions = len(program) // 8
    given = struct.pack("HxxxxxxQ", instructions, ctypes.addressof(buffer))
    try:
        datagrams.setsockopt(socket.SOL_SOCKET, ATTACH_REUSEPORT_CBPF, given)
    except OSError:
        return False
    return True


def _program(shards: int) -> bytes:
    """The word of the hash modulo `shards`; connects are spread by their transaction id."""
    instructions = (
        (_LOAD_LENGTH, 0, 0, 0),
        (_JUMP_IF_AT_LEAST, 0, 2, _SHORTEST_WITH_HASH),
        (_LOAD_WORD, 0, 0, _HASH_AT),
        (_JUMP, 0, 0, 1),
        (_LOAD_WORD, 0, 0, _TRANSACTION_AT),
        (_MODULO, 0, 0, shards),
        (_RETURN, 0, 0, 0),
    )
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
