"""Passkeys and announce addresses: how a member's client proves whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from domain.passkeys import PasskeyScope, make_passkey


class Passkeys:
    """Makes passkeys from the keyring's secrets; none is ever stored."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        """`keys` are the keyring's keys for passkeys by id, retired ones too; at least one."""
        self._keys = dict(keys)
        self.newest = max(self._keys)
        """Id of the key new accounts' passkeys are made under: ids rise as keys are added."""

    def announce_passkey(self, account: int, *, kid: int, epoch: int) -> str:
        """The general key: it opens announce and scrape for every torrent."""
        return make_passkey(self._keys[kid], account, scope=PasskeyScope.ANNOUNCE, epoch=epoch)

    def torrent_passkey(self, account: int, *, kid: int, epoch: int, torrent: int) -> str:
        """The key inside one downloaded file: it opens that torrent only."""
        return make_passkey(
            self._keys[kid],
            account,
            scope=PasskeyScope.TORRENT,
            epoch=epoch,
            torrent=torrent,
        )


class AnnounceAddresses:
    """Where clients announce: HTTP always, UDP where it is offered."""

    def __init__(self, http: str, udp: str | None = None) -> None:
        """`http` and `udp` are addresses of the trackers, with or without `/announce`."""
        self.http = _announce(http)
        self.udp = _announce(udp) if udp else None

    def tiers(self, passkey: str) -> tuple[tuple[str, ...], ...]:
        """Tiers of `announce-list` (BEP 12) for one passkey.

        HTTP first: only libtorrent-based clients send a key over UDP (BEP 41).
        """
        tiers = [(f"{self.http}/{passkey}",)]
        if self.udp:
            tiers.append((f"{self.udp}/{passkey}",))
        return tuple(tiers)


def _announce(address: str) -> str:
    """The address up to `/announce`, without query or a slash at its end."""
    parts = urlsplit(address)
    path = parts.path.rstrip("/")
    if not path.endswith("/announce"):
        path += "/announce"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
