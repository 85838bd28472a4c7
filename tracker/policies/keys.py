"""Whose announce it is: the passkey must open the tracker, or this one torrent."""

from __future__ import annotations

from hmac import compare_digest

from tracker.access_table import NO_PROOF
from tracker.policies.ask import Access, Ask
from tracker.protocol.passkeys import SCOPE_ANNOUNCE, PasskeyCheck, account_number, read_passkey
from tracker.protocol.refusals import Refusal

_REQUIRED = ("passkey_missing", "Passkey required")
# One text for malformed, unknown and wrong keys: it tells nothing about who is a member.
_INVALID = ("passkey_invalid", "Invalid passkey")


class KeyPolicy:
    """Finds the account; for a wrong key the same work is done whether it exists or not.

    The proof of a general key that was found right is kept beside the account, in constant
    place and size, and forgotten when the account changes.
    """

    def __init__(self, access: Access, check: PasskeyCheck) -> None:
        self._access = access
        self._check = check

    def __call__(self, ask: Ask) -> None:
        """Set `ask.account` and `ask.rights`. Raises Refusal."""
        if not ask.passkey:
            raise Refusal(*_REQUIRED)
        passkey = read_passkey(ask.passkey)
        if passkey is None:
            raise Refusal(*_INVALID)
        table = self._access.table
        claimed = account_number(passkey)
        account, kid, rights, epoch = table.rights(claimed)
        proof = table.proof(claimed)
        if not compare_digest(proof, passkey[4:]) or proof == NO_PROOF:
            scope = self._check.scope(passkey, kid, epoch, ask.torrent)
            if not scope or not account:
                raise Refusal(*_INVALID)
            if scope == SCOPE_ANNOUNCE:
                table.keep_proof(account, passkey[4:])
        ask.account = account
        ask.rights = rights
