"""UDP packets as clients write them, and a plain socket to send them with."""

from __future__ import annotations

import socket
import struct

from tests.tracker.running_tracker import DEADLINE, info_hash, peer_id

CONNECT = struct.pack(">QI", 0x41727101980, 0)
TRANSACTION = b"\x01\x02\xfe\xff"


def announce_packet(connection_id: bytes, hash_: bytes, peer: bytes, **fields: int) -> bytes:
    """The 98 bytes; `fields` are downloaded, left, uploaded, event, key, num_want, port, ip."""
    get = fields.get
    return struct.pack(
        ">8sI4s20s20sQQQIIIiH",
        connection_id,
        1,
        TRANSACTION,
        hash_,
        peer,
        get("downloaded", 0),
        get("left", 0),
        get("uploaded", 0),
        get("event", 0),
        get("ip", 0),
        get("key", 0),
        get("num_want", -1),
        get("port", 5001),
    )


def url_options(url: bytes, size: int = 255) -> bytes:
    """URL data in parts of at most `size` bytes."""
    parts = [url[at : at + size] for at in range(0, len(url), size)]
    return b"".join(b"\x02" + bytes([len(part)]) + part for part in parts)


class UdpClient:
    """A socket connected to the tracker."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        )
        self.socket.settimeout(DEADLINE)
        self.socket.connect((host, port))

    def __enter__(self) -> UdpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, packet: bytes) -> None:
        self.socket.send(packet)

    def receive(self) -> bytes:
        return self.socket.recv(65536)

    def ask(self, packet: bytes) -> bytes:
        self.send(packet)
        return self.receive()

    def connect(self) -> bytes:
        """The connection id of a new connect."""
        answer = self.ask(CONNECT + TRANSACTION)
        assert len(answer) == 16
        assert answer[:8] == bytes(4) + TRANSACTION
        return answer[8:]

    def announce(
        self, passkey: str, torrent: int, name: str = "a", *, id_: bytes = b"", **fields: int
    ) -> bytes:
        """Announce with a key in the path, on a new connection id unless one is given."""
        head = announce_packet(id_ or self.connect(), info_hash(torrent), peer_id(name), **fields)
        return self.ask(head + url_options(f"/announce/{passkey}".encode()))
