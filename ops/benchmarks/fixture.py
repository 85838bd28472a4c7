"""Members and accepted torrents to measure with, recorded as facts, and the file that names them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path
from uuid import UUID

from bencodepy import encode

from application.access import Passkeys
from application.ports import Writes
from domain.kernel import Envelope, Fact, Meta
from domain.metainfo import read_metainfo
from domain.moderation import open_moderation, thread_id
from domain.torrents import torrent_details, upload_torrent
from domain.users import register_account
from interfaces.access_feed import AccessPublisher
from ops.container.foundation import Foundation, access_publisher
from ops.data_folder import write_private
from ops.failures import OperatorError
from ops.progress import ProgressLine
from ops.system import system_clock
from projections.access import AccessProjection, access_head
from projections.engine import step

BATCH = 250
"""Members, or torrents, recorded in one append: it holds the log's lock for some 100 ms."""
PUBLISH_SECONDS = 60.0
FIRST_EPOCH = 1
PIECE = 1 << 20


class FixtureRefused(OperatorError):
    """The fixture can't be made in this installation, or not be written there."""


def write_fixture(
    base: Foundation, output: Path, *, torrents: int, members: int, add: bool
) -> None:
    """Make `members` and `torrents`, let trackers know them, and write them to `output`.

    Lines are `H <40 hex>` (info hash) and `K <32 hex>` (general announce key); `-` is standard
    output. Raises `FixtureRefused` where others exist already and `add` is false.
    """
    _require_writable(output)
    _require_empty(base, add=add)
    line = ProgressLine()
    maker = _Maker(base)
    keys = maker.members(members, lambda done: line.show(f"members: {done} of {members}"))
    hashes = maker.torrents(torrents, lambda done: line.show(f"torrents: {done} of {torrents}"))
    line.show("telling the trackers …")
    publish(base)
    line.done()
    text = "".join(f"H {known}\n" for known in hashes) + "".join(f"K {key}\n" for key in keys)
    if str(output) == "-":
        sys.stdout.write(text)
    else:
        # The keys let anyone announce as these members.
        write_private(output, text)


def publish(base: Foundation) -> None:
    """Fold the new facts into the access read model, and copy it to where trackers read it."""
    publisher: AccessPublisher = access_publisher(base)
    with base.reads.connection() as conn:
        while isinstance(step(conn, base.log, AccessProjection()), int):
            pass
    deadline = time.monotonic() + PUBLISH_SECONDS
    while not publisher.publish():
        if time.monotonic() > deadline:
            raise FixtureRefused("Another process holds the access feed; try again in a minute.")
        time.sleep(0.1)


def _require_writable(output: Path) -> None:
    if str(output) == "-":
        return
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise FixtureRefused(f"{output} can't be written; name a file in an existing folder.")


def _require_empty(base: Foundation, *, add: bool) -> None:
    if add:
        return
    with base.reads.connection() as conn:
        while isinstance(step(conn, base.log, AccessProjection()), int):
            pass
        if access_head(conn):
            raise FixtureRefused(
                "This installation has members or torrents already, and what is made for a "
                "benchmark stays in its history; use another data folder, or give --add."
            )


class _Maker:
    """Records members and torrents, many in an append."""

    def __init__(self, base: Foundation) -> None:
        self._base = base
        self._passkeys = Passkeys(base.keyring.materials("passkeys"))
        # Distinguishes the names of this run from those of another on the same installation.
        self._tag = base.entropy.token(3).hex()
        self._uploader = (UUID(int=0), 0)

    def members(self, count: int, progress: Callable[[int], None]) -> list[str]:
        """Make that many; their general announce keys. Nobody can sign in as one of them."""
        keys: list[str] = []
        for batch in _batches(count):
            envelopes = [self._member(number, keys) for number in batch]
            self._append(envelopes)
            progress(batch.stop)
        return keys

    def _member(self, number: int, keys: list[str]) -> tuple[UUID, list[Fact]]:
        account, dense = self._base.entropy.uuid(), self._base.log.next_account_number()
        kid = self._passkeys.newest
        name = f"bench-{self._tag}-{number}"
        keys.append(self._passkeys.announce_passkey(dense, kid=kid, epoch=FIRST_EPOCH))
        self._uploader = (account, dense)
        return account, register_account(dense, name, kid=kid, starter_upload=0, invites=0)

    def torrents(self, count: int, progress: Callable[[int], None]) -> list[str]:
        """Make that many, uploaded by the last member and accepted; their info hashes."""
        hashes: list[str] = []
        for batch in _batches(count):
            facts: list[tuple[UUID, list[Fact]]] = []
            files: list[bytes] = []
            for number in batch:
                facts += self._torrent(number, hashes, files)
            self._append(facts, files)
            progress(batch.stop)
        return hashes

    def _torrent(
        self, number: int, hashes: list[str], files: list[bytes]
    ) -> list[tuple[UUID, list[Fact]]]:
        log, (uploader, uploader_number) = self._base.log, self._uploader
        torrent, content = self._base.entropy.uuid(), self._file(number)
        metainfo = read_metainfo(content)
        uploaded = upload_torrent(
            metainfo,
            metainfo,
            torrent_details(name=metainfo.name),
            number=log.next_torrent_number(),
            uploader=uploader,
            uploader_number=uploader_number,
            file_ref=log.blob_ref(content),
        )
        opened = open_moderation(torrent=torrent, uploader=uploader, bypass="staff")
        hashes.append(metainfo.info_hash)
        files.append(content)
        return [(torrent, uploaded), (thread_id(torrent), opened)]

    def _file(self, number: int) -> bytes:
        """The .torrent (BEP 3, private by BEP 27) of one file nobody has."""
        name = f"bench {self._tag} {number}"
        info = {
            b"length": PIECE,
            b"name": name.encode(),
            b"piece length": PIECE,
            b"pieces": sha1(name.encode()).digest(),  # noqa: S324 (BEP 3)
            b"private": 1,
        }
        content: bytes = encode({b"info": info})
        return content

    def _append(
        self, aggregates: list[tuple[UUID, list[Fact]]], files: list[bytes] | None = None
    ) -> None:
        command = self._base.entropy.uuid()
        meta = Meta(at=system_clock(), actor=None, command=command, correlation=command)
        envelopes = tuple(
            Envelope(originator_id=aggregate, originator_version=version, meta=meta, fact=fact)
            for aggregate, facts in aggregates
            for version, fact in enumerate(facts, 1)
        )
        self._base.log.append(
            Writes(command_id=command, envelopes=envelopes, blobs=tuple(files or ()))
        )


def _batches(count: int) -> Iterator[range]:
    for start in range(0, count, BATCH):
        yield range(start, min(start + BATCH, count))
