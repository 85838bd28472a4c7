"""Which torrent clients are welcome, by the start of their peer id (BEP 20)."""

from __future__ import annotations

from tracker.policies.ask import Ask
from tracker.protocol.refusals import Refusal
from tracker.wire import EVENT_STOPPED


def check_client(ask: Ask) -> None:
    """Refuse what the site denies, and where it names the welcome ones, all others.

    A client that was in the swarm before the lists changed may still say that it stops, so
    that its last totals are recorded. Raises Refusal.
    """
    rules = ask.rules
    if not (rules.denied_clients or rules.allowed_clients):
        return
    peer_id = ask.request.peer_id
    # startswith takes the whole list at once; an empty one matches nothing.
    if peer_id.startswith(rules.denied_clients):
        fault = Refusal("client_denied", "This torrent client is not allowed here.")
    elif rules.allowed_clients and not peer_id.startswith(rules.allowed_clients):
        fault = Refusal("client_not_listed", "Only some torrent clients are allowed here.")
    else:
        return
    if ask.request.event == EVENT_STOPPED and ask.is_in_swarm:
        return
    raise fault
