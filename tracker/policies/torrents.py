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
    if ask.state == TORRENT_ACCEPTED:
        return
    if ask.state == TORRENT_PENDING and ask.account == ask.uploader:
        return
    if ask.torrent and ask.request.event == EVENT_STOPPED and ask.is_in_swarm:
        return
    # Unknown, pending and closed sound the same: others must not learn of an upload here.
    raise Refusal("torrent_unknown", "Torrent not found or inactive")
