"""Banned addresses and ranges."""

from __future__ import annotations

from tracker.policies.ask import Access, Ask
from tracker.protocol.refusals import Refusal


class AddressPolicy:
    """Nobody announces from a banned address, whoever he is."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def __call__(self, ask: Ask) -> None:
        """Raises Refusal."""
        if self._access.banned.covers(ask.address, ask.now):
            raise Refusal("address_banned", "Access denied: this address is banned.")
