"""What a peer id tells of the client (BEP 20)."""

from __future__ import annotations

TAG_SIZE = 8


def client_tag(peer_id: bytes) -> bytes:
    """The first 8 bytes of a peer id: client and version in the common style `-qB4520-`."""
    return peer_id[:TAG_SIZE]
