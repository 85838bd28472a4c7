"""Whose announce it is: the passkey must open the tracker, or this one torrent."""

from __future__ import annotations

from tracker.policies.ask import Access, Ask
from tracker.protocol.passkeys import PasskeyCheck, account_number, read_passkey
from tracker.protocol.refusals import Refusal

_REQUIRED = ("passkey_missing", "Passkey required")
# One text for malformed, unknown and wrong keys: it tells nothing about who is a member.
_INVALID = ("passkey_invalid", "Invalid passkey")


class KeyPolicy:
    """Finds the account; the same work is done whether the account exists or not."""

    def __init__(self, access: Access, check: PasskeyCheck) -> None:
        self._access = access
        self._check = check

    def __call__(self, ask: Ask) -> None:
        """Set `ask.account`. Raises Refusal."""
        if not ask.passkey:
            raise Refusal(*_REQUIRED)
        passkey = read_passkey(ask.passkey)
        if passkey is None:
            raise Refusal(*_INVALID)
        account = self._access.table.account(account_number(passkey))
        torrent = ask.torrent.number if ask.torrent is not None else 0
        kid, epoch = (account.kid, account.epoch_announce) if account is not None else (-1, 0)
        if not self._check.opens(passkey, kid, epoch, torrent) or account is None:
            raise Refusal(*_INVALID)
        ask.account = account
