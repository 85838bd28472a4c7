"""Reading stored torrents: a member's own .torrent, the files inside, the NFO."""

from __future__ import annotations

from functools import lru_cache

from application.access import AnnounceAddresses, Passkeys
from application.ports import EventLogPort
from application.torrent_files import personal_torrent
from application.uploads import nfo_text
from domain.metainfo import ContentFile, read_metainfo

FILES_SHOWN = 1_000
"""Files of a torrent that its page lists; the usual one has a dozen, the longest 20,000."""
_FILE_LISTS = 256


class TorrentFileLost(RuntimeError):
    """The log says a file was stored, and it is not there."""


class StoredTorrents:
    """The files behind the facts, read from the vault."""

    def __init__(self, log: EventLogPort, passkeys: Passkeys, addresses: AnnounceAddresses) -> None:
        self._log = log
        self._passkeys = passkeys
        self.addresses = addresses
        self._files = lru_cache(maxsize=_FILE_LISTS)(self._read_files)

    def personal_torrent(
        self, file_ref: str, *, torrent: int, account: int, kid: int, epoch: int
    ) -> bytes:
        """The stored file with this member's announce addresses.

        `torrent` and `account` are dense numbers, `kid` and `epoch` the account's key id and
        announce epoch. The passkey inside opens this torrent only.
        """
        passkey = self._passkeys.torrent_passkey(account, kid=kid, epoch=epoch, torrent=torrent)
        return personal_torrent(self._stored(file_ref), self.addresses.tiers(passkey))

    def content_files(self, file_ref: str) -> tuple[ContentFile, ...]:
        """The first `FILES_SHOWN` files of the content; facts only hold how many there are."""
        return self._files(file_ref)

    def nfo(self, nfo_ref: str) -> str:
        """The NFO as text."""
        return nfo_text(self._stored(nfo_ref))

    def _read_files(self, file_ref: str) -> tuple[ContentFile, ...]:
        return read_metainfo(self._stored(file_ref)).files[:FILES_SHOWN]

    def _stored(self, ref: str) -> bytes:
        content = self._log.blob(bytes.fromhex(ref))
        if content is None:
            raise TorrentFileLost("a stored file is missing from the vault")
        return content
