"""Which shard owns a torrent: a function of its canonical hash, the same in the kernel's filter."""

from __future__ import annotations


def owner_of(info_hash: bytes, shards: int) -> int:
    """The shard of a canonical hash: its first four bytes, big-endian, modulo the shards.

    The filter on the UDP sockets computes the same from the packet, so nearly every announce
    over UDP arrives where its swarm is.
    """
    return int.from_bytes(info_hash[:4], "big") % shards
