"""Ports that no torrent client listens on, but a victim might."""

from __future__ import annotations

from tracker.policies.ask import Ask
from tracker.protocol.refusals import Refusal


def check_port(ask: Ask) -> None:
    """Keep swarms from being pointed at mail, name or shell servers. Raises Refusal."""
    if ask.request.port in ask.rules.refused_ports:
        raise Refusal("port_refused", "This port is not allowed, choose another in your client.")
