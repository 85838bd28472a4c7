"""Which torrents may be announced, and by whom."""

from __future__ import annotations

from tracker.policies.ask import Ask
from tracker.protocol.refusals import Refusal
from tracker.wire import EVENT_STOPPED, TORRENT_ACCEPTED, TORRENT_PENDING


def check_torrent(ask: Ask) -> None:
    """An accepted torrent is everyone's, a pending one its uploader's. Raises Refusal.

    A client that is in the swarm of a closed torrent may still say that it stops, so that
    its last totals are recorded.
    """
    torrent = ask.torrent
    if torrent is not None:
        if torrent.state == TORRENT_ACCEPTED:
            return
        if (
            torrent.state == TORRENT_PENDING
            and ask.account is not None
            and ask.account.number == torrent.uploader
        ):
            return
        if ask.request.event == EVENT_STOPPED and _is_in_swarm(ask):
            return
    # Unknown, pending and closed sound the same: others must not learn of an upload here.
    raise Refusal("torrent_unknown", "Torrent not found or inactive")


def _is_in_swarm(ask: Ask) -> bool:
    if ask.swarm is None or ask.account is None:
        return False
    return ask.swarm.find(ask.account.number, ask.request.peer_id) >= 0
