"""What the member may do: announce at all, and take rather than give."""

from __future__ import annotations

from tracker.policies.ask import Ask
from tracker.protocol.refusals import Refusal
from tracker.wire import ACCOUNT_MAY_ANNOUNCE, ACCOUNT_MAY_DOWNLOAD, EVENT_STOPPED


def check_account(ask: Ask) -> None:
    """A banned member announces nothing. Raises Refusal."""
    if not ask.rights & ACCOUNT_MAY_ANNOUNCE:
        raise Refusal("account_banned", "User is banned")


def check_download_right(ask: Ask) -> None:
    """Without the right to download only seeding goes on; leaving always does. Raises Refusal."""
    if ask.rights & ACCOUNT_MAY_DOWNLOAD:
        return
    if ask.request.left != 0 and ask.request.event != EVENT_STOPPED:
        raise Refusal("download_disabled", "Low ratio. Download disabled.")
