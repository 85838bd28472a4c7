"""Announces to a tracker as a client would, and says in words what came of it."""

from __future__ import annotations

import secrets
import socket
import string
from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ops.doctor import Finding, Level
from ops.tracker_check_wire import (
    STARTED,
    STOPPED,
    Announced,
    CheckFailed,
    Probe,
    announce,
    port_of,
)

CLIENT: Final = "-TC0100-"
"""How our peer id begins; no client in the field has it."""
SECONDS: Final = 10.0
_SCHEMES: Final = ("http", "https", "udp")
_CLOCK_SECONDS: Final = 60
_FAMILIES: Final = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
_UNKNOWN_TORRENT: Final = "Torrent not found or inactive"
_REMEDIES: Final = {
    "Passkey required": "the URL has no key: copy the announce URL from the site, or over UDP "
    "use HTTP, as most clients send no key there",
    "Invalid passkey": "the key is wrong, was reset, or belongs to one other torrent: download "
    "the file again or copy the new announce URL",
    "User is banned": "the member of this key is banned",
    "Low ratio. Download disabled.": "the member may only seed until the ratio is better",
    "Access denied: this address is banned.": "this machine's address stands on the list of "
    "banned addresses; staff can lift that",
    "This torrent client is not allowed here.": "the site denies clients whose peer id begins "
    "so; try another with --client",
    "Only some torrent clients are allowed here.": "the site names allowed clients; choose one "
    "of them with --client",
    "This port is not allowed, choose another in your client.": "choose another with --port",
    "Too many clients of yours in this torrent.": "stop one of them, or wait for one to expire",
    "Too many announces, slow down.": "wait a minute",
    "The tracker is starting.": "try again in a minute",
    "The tracker cannot record announces at the moment.": "its Redis is away or full; see "
    "`trackarr doctor` on its host",
    "The proxy does not say which address you have.": "the reverse proxy must set "
    "X-Forwarded-For (docs/operations.md)",
}


def check_tracker(
    text: str,
    *,
    info_hash: bytes | None = None,
    client: str = CLIENT,
    port: int = 51_413,
    seconds: float = SECONDS,
) -> Iterator[Finding]:
    """Findings in the order in which a client would meet them.

    Without an info hash a made-up one is announced: the tracker should accept the key and
    refuse the torrent. `seconds` bounds each wait. No finding holds the key.
    """
    url = urlsplit(text)
    fault = _url_fault(url)
    if fault is not None:
        yield Finding(Level.FAIL, "url", fault)
        return
    alphabet = string.ascii_letters + string.digits
    tail = "".join(secrets.choice(alphabet) for _ in range(20 - len(client)))
    probe = Probe(info_hash or secrets.token_bytes(20), (client + tail).encode(), port, seconds)
    found = _addresses(url)
    if isinstance(found, Finding):
        yield found
        return
    yield Finding(Level.OK, "dns", f"{url.hostname} is {', '.join(found.values())}.")
    results = list(_each_family(url, found, probe, known=info_hash is not None))
    works = any(finding.level is Level.OK for finding in results)
    for finding in results:
        # Clients of both families fall back to the one that works, after a while.
        failed = finding.level is Level.FAIL and works
        yield replace(finding, level=Level.WARN) if failed else finding
    if len(found) == 1 and not _is_literal(url):
        missing = next(name for name in _FAMILIES.values() if name not in found)
        yield Finding(
            Level.OK, "families", f"The name has no {missing} address; members need none."
        )


def _url_fault(url: SplitResult) -> str | None:
    if url.scheme not in _SCHEMES or not url.hostname:
        return "That is no tracker URL: it begins with http://, https:// or udp:// and a host."
    try:
        port_of(url)
    except (CheckFailed, ValueError) as fault:
        return str(fault) if isinstance(fault, CheckFailed) else "The port is no number to 65535."
    if not url.path.strip("/"):
        return "The URL has no path: trackers are announced to at /announce/KEY."
    return None


def _is_literal(url: SplitResult) -> bool:
    try:
        socket.getaddrinfo(url.hostname, None, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return False
    return True


def _addresses(url: SplitResult) -> dict[str, str] | Finding:
    """The host's first address of each family, by the family's name."""
    kind = socket.SOCK_DGRAM if url.scheme == "udp" else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(url.hostname, port_of(url), type=kind)
    except (socket.gaierror, UnicodeError):
        return Finding(
            Level.FAIL, "dns", f"The name {url.hostname} has no address.", "is it spelled right?"
        )
    addresses: dict[str, str] = {}
    for family, _, _, _, where in found:
        if family in _FAMILIES:
            addresses.setdefault(_FAMILIES[socket.AddressFamily(family)], str(where[0]))
    return addresses


def _each_family(
    url: SplitResult, addresses: dict[str, str], probe: Probe, *, known: bool
) -> Iterator[Finding]:
    for family, address in addresses.items():
        part = f"{url.scheme} {family}"
        try:
            answer = announce(url, address, probe, STARTED)
        except CheckFailed as fault:
            yield Finding(Level.FAIL, part, str(fault), fault.advice)
            continue
        yield _explain(part, answer, known=known)
        if answer.clock_ahead is not None and abs(answer.clock_ahead) > _CLOCK_SECONDS:
            yield Finding(
                Level.WARN, "clock", _clock_text(answer.clock_ahead), "set the wrong one by NTP"
            )
        if answer.failure is None:
            yield from _leave(url, address, probe, part)


def _clock_text(ahead: float) -> str:
    side = "ahead of" if ahead > 0 else "behind"
    return f"Its clock is {abs(ahead):.0f} s {side} this machine's."


def _leave(url: SplitResult, address: str, probe: Probe, part: str) -> Iterator[Finding]:
    """Take the made-up peer out of the swarm again."""
    try:
        answer = announce(url, address, probe, STOPPED)
    except CheckFailed as fault:
        yield Finding(Level.WARN, part, f"The announce of `stopped` failed: {fault}", fault.advice)
        return
    if answer.failure is not None:
        yield Finding(Level.WARN, part, f"`stopped` was refused: {_plain(answer.failure)}")


def _explain(part: str, answer: Announced, *, known: bool) -> Finding:
    took = f"in {answer.took * 1000:.0f} ms"
    if answer.failure is None:
        return Finding(
            Level.OK,
            part,
            f"Announced {took}: {answer.seeders} seeders, {answer.leechers} leechers, "
            f"{answer.peers} peers listed, next announce in {answer.interval // 60} min.",
        )
    if answer.failure == _UNKNOWN_TORRENT and not known:
        return Finding(
            Level.OK,
            part,
            f"It answers {took} and takes the key; a torrent was not tried (--info-hash).",
        )
    words = _plain(answer.failure)
    if answer.failure == _UNKNOWN_TORRENT:
        remedy = "it is not accepted yet, was withdrawn, or the hash is another's"
    else:
        remedy = _REMEDIES.get(answer.failure, "these are the tracker's own words")
    return Finding(Level.FAIL, part, f'Refused {took}: "{words}"', remedy)


def _plain(words: str) -> str:
    """A stranger's words on our terminal: printable, and not too many of them."""
    return "".join(one if one.isprintable() else "?" for one in words[:200])
