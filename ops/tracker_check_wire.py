"""One announce to one address of a tracker, as a client sends it, and what came back."""

from __future__ import annotations

import http.client
import secrets
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import SplitResult, quote

from bencodepy import BencodeDecodeError, decode

STARTED: Final = "started"
STOPPED: Final = "stopped"
_EVENTS: Final = {STARTED: 2, STOPPED: 3}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ANSWER_LIMIT: Final = 1 << 20
_UDP_TRIES: Final = 2
_MAGIC: Final = 0x41727101980
_ANNOUNCE: Final = struct.Struct(">8sI4s20s20sQQQIIIiH")
_ANNOUNCED: Final = struct.Struct(">III")
_PEER_SIZES: Final = {socket.AF_INET: 6, socket.AF_INET6: 18}


class CheckFailed(Exception):
    """No answer that a client could use: what happened, and what to do about it."""

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.advice = advice


@dataclass(frozen=True)
class Probe:
    """Who announces what: raw info hash and peer id, and the port peers would be told."""

    info_hash: bytes
    peer_id: bytes
    port: int
    seconds: float


@dataclass(frozen=True)
class Announced:
    """What a tracker answered. `failure` is its own words where it refused.

    Times are seconds; `clock_ahead` is how far its clock is before ours, None where untold.
    """

    failure: str | None
    took: float
    interval: int = 0
    peers: int = 0
    seeders: int = 0
    leechers: int = 0
    clock_ahead: float | None = None


def port_of(url: SplitResult) -> int:
    """The port of the URL, or its scheme's. Raises CheckFailed for UDP without one."""
    port = url.port or _DEFAULT_PORTS.get(url.scheme)
    if port is None:
        raise CheckFailed("A UDP tracker has no default port: write it, as in udp://host:6969.")
    return port


def announce(url: SplitResult, address: str, probe: Probe, event: str) -> Announced:
    """Announce once to `address`, one of the host's. Raises CheckFailed."""
    started = time.monotonic()
    try:
        if url.scheme == "udp":
            return _announce_udp(url, address, probe, event)
        return _announce_http(url, address, probe, event)
    except ssl.SSLCertVerificationError as fault:
        raise CheckFailed(
            f"The certificate is not accepted: {fault.verify_message}.",
            "renew it or serve its whole chain; if it seems wrong in time only here, set this "
            "machine's clock",
        ) from None
    except ssl.SSLError as fault:
        raise CheckFailed(
            f"TLS fails: {fault.reason or 'no reason given'}.", "is this port one for https?"
        ) from None
    except ConnectionRefusedError:
        raise CheckFailed(
            "Nothing listens there: connection refused.",
            "is the tracker running, and on this address and port?",
        ) from None
    except TimeoutError:
        raise CheckFailed(
            f"No answer within {time.monotonic() - started:.0f} s.",
            "a firewall may drop it, or the host is down",
        ) from None
    except (OSError, http.client.error) as fault:
        reason = getattr(fault, "strerror", None) or type(fault).__name__
        raise CheckFailed(f"The connection fails: {reason}.") from None


def _announce_http(url: SplitResult, address: str, probe: Probe, event: str) -> Announced:
    query = (
        f"info_hash={quote(probe.info_hash, safe='')}&peer_id={quote(probe.peer_id, safe='')}"
        f"&port={probe.port}&uploaded=0&downloaded=0&left=0&compact=1&numwant=50&event={event}"
    )
    target = (url.path or "/") + "?" + (f"{url.query}&{query}" if url.query else query)
    started = time.monotonic()
    connection = _Connection(url, address, probe.seconds)
    try:
        connection.request("GET", target, headers={"User-Agent": "trackarr-check/1"})
        response = connection.getresponse()
        body = response.read(_ANSWER_LIMIT)
    finally:
        connection.close()
    took = time.monotonic() - started
    if response.status != 200:
        raise CheckFailed(
            f"The answer is HTTP status {response.status}, not 200.",
            "the URL leads to another program, or the proxy in front can't reach the tracker",
        )
    return _read_http(body, took, _clock_ahead(response.getheader("Date")))


class _Connection(http.client.HTTPConnection):
    """To a chosen address, while host name and certificate are those of the URL."""

    def __init__(self, url: SplitResult, address: str, seconds: float) -> None:
        super().__init__(url.hostname or "", port_of(url), timeout=seconds)
        self._address = address
        self._tls = ssl.create_default_context() if url.scheme == "https" else None

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)


def _read_http(body: bytes, took: float, clock_ahead: float | None) -> Announced:
    try:
        answer: Any = decode(body)
    except (BencodeDecodeError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise CheckFailed(
            "The answer is not bencoded, so no tracker's.", "the URL leads to another program"
        )
    failure = answer.get(b"failure reason")
    if isinstance(failure, bytes):
        return Announced(failure.decode("utf-8", "replace"), took, clock_ahead=clock_ahead)
    peers, peers6 = answer.get(b"peers", b""), answer.get(b"peers6", b"")
    known = len(peers) if isinstance(peers, list) else len(peers) // 6
    return Announced(
        None,
        took,
        interval=_number(answer, b"interval"),
        peers=known + len(peers6) // 18,
        seeders=_number(answer, b"complete"),
        leechers=_number(answer, b"incomplete"),
        clock_ahead=clock_ahead,
    )


def _number(answer: dict[bytes, Any], name: bytes) -> int:
    value = answer.get(name, 0)
    return value if isinstance(value, int) else 0


def _clock_ahead(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return None


def _announce_udp(url: SplitResult, address: str, probe: Probe, event: str) -> Announced:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    started = time.monotonic()
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(probe.seconds / _UDP_TRIES)
        datagrams.connect((address, port_of(url)))
        connected = _ask(datagrams, struct.pack(">QI", _MAGIC, 0), 0)
        if isinstance(connected, str) or len(connected) != 8:
            raise CheckFailed("The answer to connect is no tracker's (BEP 15).")
        packet = _packet(connected, probe, event) + _url_options(url)
        answer = _ask(datagrams, packet, 1)
    took = time.monotonic() - started
    if isinstance(answer, str):
        return Announced(answer, took)
    if len(answer) < _ANNOUNCED.size:
        raise CheckFailed("The answer to the announce is cut off (BEP 15).")
    interval, leechers, seeders = _ANNOUNCED.unpack_from(answer)
    peers = (len(answer) - _ANNOUNCED.size) // _PEER_SIZES[family]
    return Announced(None, took, interval, peers, seeders, leechers)


def _packet(connection_id: bytes, probe: Probe, event: str) -> bytes:
    """The announce but for its transaction id, which stands as four zero bytes."""
    head = (connection_id, 1, bytes(4), probe.info_hash, probe.peer_id)
    return _ANNOUNCE.pack(*head, 0, 0, 0, _EVENTS[event], 0, 0, 50, probe.port)


def _url_options(url: SplitResult) -> bytes:
    """Path and query (BEP 41): the only place for a key over UDP."""
    text = (url.path + (f"?{url.query}" if url.query else "")).encode()
    parts = [text[at : at + 255] for at in range(0, len(text), 255)]
    return b"".join(b"\x02" + bytes((len(part),)) + part for part in parts)


def _ask(datagrams: socket.socket, packet: bytes, action: int) -> bytes | str:
    """What follows the transaction id in the answer, or the error as text. Raises OSError."""
    transaction_id = secrets.token_bytes(4)
    question = packet[:12] + transaction_id + packet[16:]
    for last in (False, True):
        datagrams.send(question)
        try:
            answer = datagrams.recv(65_536)
        except TimeoutError:
            if last:
                raise
            continue
        if answer[4:8] != transaction_id:
            raise CheckFailed("The answer belongs to another request (BEP 15).")
        found = int.from_bytes(answer[:4], "big")
        if found == 3:
            return answer[8:].decode("utf-8", "replace")
        if found != action:
            raise CheckFailed("The answer is of another kind than the request (BEP 15).")
        return answer[8:]
    raise TimeoutError
