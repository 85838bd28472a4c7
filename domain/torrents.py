"""Torrents: uploaded by a member, edited, withdrawn; their info hashes are claimed names."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.kernel import Claim, Envelope, Fact
from domain.media_ids import MediaIds
from domain.metainfo import Metainfo
from domain.taxonomy import slugify

NAME_LENGTH = 256
DESCRIPTION_LENGTH = 100_000
TAGS = 10
TAG_LENGTH = 30


class TorrentUploaded(Fact, frozen=True):
    """A member uploaded a torrent.

    Hashes are lower-case hex of the file that is served. `info_hash` is the canonical one: v1
    where there is one, else the first 20 bytes of the v2 hash (BEP 52). The `original_` ones
    are those of the file as it came, when `private=1` was spliced in, else None.
    `file_ref` is the stored file's blob reference in hex, `nfo_ref` that of the NFO where one
    came; sizes are bytes.
    """

    TOPIC: ClassVar[str] = "torrent.uploaded.1"

    number: int
    uploader: UUID
    uploader_number: int
    name: str
    description: str
    category: UUID | None
    size: int
    piece_length: int
    files: int
    info_hash: str
    info_hash_v1: str | None
    info_hash_v2: str | None
    original_info_hash: str | None
    original_info_hash_v2: str | None
    content_signature: str
    file_ref: str
    imdb: str | None
    tmdb: str | None
    tvdb: str | None
    igdb: str | None
    openlibrary: str | None
    tags: tuple[str, ...]
    nfo_ref: str | None = None

    def claims(self) -> tuple[Claim, ...]:
        return hash_claims(
            self.info_hash, self.info_hash_v2, self.original_info_hash, self.original_info_hash_v2
        )


class TorrentEdited(Fact, frozen=True):
    """The uploader or a moderator changed what a torrent's page says."""

    TOPIC: ClassVar[str] = "torrent.edited.1"

    name: str
    description: str
    category: UUID | None
    imdb: str | None
    tmdb: str | None
    tvdb: str | None
    igdb: str | None
    openlibrary: str | None
    tags: tuple[str, ...]


class TorrentWithdrawn(Fact, frozen=True):
    """The uploader or a moderator took a torrent out; its info hashes are free again."""

    TOPIC: ClassVar[str] = "torrent.withdrawn.1"

    number: int
    uploader: UUID
    info_hash: str
    info_hash_v2: str | None
    original_info_hash: str | None
    original_info_hash_v2: str | None

    def releases(self) -> tuple[Claim, ...]:
        return hash_claims(
            self.info_hash, self.info_hash_v2, self.original_info_hash, self.original_info_hash_v2
        )


FACTS: tuple[type[Fact], ...] = (TorrentUploaded, TorrentEdited, TorrentWithdrawn)


class TorrentNotFound(NotFound):
    """No such torrent, withdrawn, or hidden from the one who asks."""

    code = "torrent_not_found"
    message = "Torrent not found"


class TorrentExists(Conflict):
    """One of the file's hashes is taken (claim kind "torrent.info_hash")."""

    code = "torrent_exists"
    message = "This torrent already exists."


class TorrentNotYours(Forbidden):
    """Neither its uploader nor staff."""

    code = "torrent_not_yours"
    message = "You do not have permission to change this torrent."


class TorrentEditedMeanwhile(Conflict):
    """Another edited it first; `data` has `editor` and the new `version`."""

    code = "torrent_edited_meanwhile"
    message = "This torrent was edited meanwhile; look at it again."


class TorrentDetailsInvalid(Invalid):
    """A field of the upload form is outside its range; `data["field"]` names it."""

    code = "torrent_details_invalid"


class TorrentDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What people write about a torrent, checked; made by `torrent_details`."""

    name: str
    description: str
    category: UUID | None
    media: MediaIds
    tags: tuple[str, ...]


class Torrent(msgspec.Struct, frozen=True, kw_only=True):
    """A torrent as its facts leave it.

    `tagged` says when it was last said to bear each tag, by slug: a later removal of the tag
    unbinds it. `edited_by` made the last edit, None
    where there was none or it was not a member's.
    """

    id: UUID
    version: int
    number: int
    uploader: UUID
    info_hash: str
    info_hash_v2: str | None
    original_info_hash: str | None
    original_info_hash_v2: str | None
    file_ref: str
    details: TorrentDetails
    tagged: tuple[tuple[str, datetime], ...] = ()
    edited_by: UUID | None = None
    withdrawn: bool = False


def evolve(state: Torrent | None, envelope: Envelope) -> Torrent:
    """Fold one fact of a torrent."""
    fact = envelope.fact
    version = envelope.originator_version
    if isinstance(fact, TorrentUploaded):
        return Torrent(
            id=envelope.originator_id,
            version=version,
            number=fact.number,
            uploader=fact.uploader,
            info_hash=fact.info_hash,
            info_hash_v2=fact.info_hash_v2,
            original_info_hash=fact.original_info_hash,
            original_info_hash_v2=fact.original_info_hash_v2,
            file_ref=fact.file_ref,
            details=_details_of(fact),
            tagged=_tagged(fact.tags, envelope.meta.at),
        )
    if state is not None and isinstance(fact, TorrentEdited):
        return msgspec.structs.replace(
            state,
            version=version,
            details=_details_of(fact),
            tagged=_tagged(fact.tags, envelope.meta.at),
            edited_by=envelope.meta.actor,
        )
    if state is not None and isinstance(fact, TorrentWithdrawn):
        return msgspec.structs.replace(state, version=version, withdrawn=True)
    raise TypeError(f"{type(fact).__name__} is no next fact of a torrent")


def hash_claim(info_hash: str) -> Claim:
    """The claim of one info hash: 40 hex digits, or 64 of which the first 40 count."""
    return Claim(kind="torrent.info_hash", value=info_hash[:40].lower())


def hash_claims(*info_hashes: str | None) -> tuple[Claim, ...]:
    """Every name a torrent is known by in swarms, each once, in the order given."""
    return tuple(dict.fromkeys(hash_claim(known) for known in info_hashes if known))


def torrent_details(
    *,
    name: str,
    description: str = "",
    category: UUID | None = None,
    media: MediaIds | None = None,
    tags: tuple[str, ...] = (),
) -> TorrentDetails:
    """Check what was written about a torrent. Raises `TorrentDetailsInvalid`.

    Tags that read the same as a slug count once; empty ones are passed over.
    """
    name = name.strip()
    if not 1 <= len(name) <= NAME_LENGTH:
        raise TorrentDetailsInvalid(f"name: must have 1 to {NAME_LENGTH} characters", field="name")
    if len(description) > DESCRIPTION_LENGTH:
        raise TorrentDetailsInvalid(
            f"description: must have at most {DESCRIPTION_LENGTH} characters", field="description"
        )
    if any("\0" in text for text in (name, description, *tags)):
        # No database text can hold it, and a recorded fact must never stop a read model.
        raise TorrentDetailsInvalid("name, description, tags: must not contain NUL characters")
    return TorrentDetails(
        name=name,
        description=description,
        category=category,
        media=media or MediaIds(),
        tags=_valid_tags(tags),
    )


def upload_torrent(
    metainfo: Metainfo,
    original: Metainfo,
    details: TorrentDetails,
    *,
    number: int,
    uploader: UUID,
    uploader_number: int,
    file_ref: bytes,
    nfo_ref: bytes | None = None,
) -> list[Fact]:
    """Upload a torrent: `metainfo` is the file as stored, `original` as it came.

    `number` is the torrent's dense number, `file_ref` the blob reference of the stored file,
    `nfo_ref` that of the NFO.
    """
    changed = original.info_hash != metainfo.info_hash
    return [
        TorrentUploaded(
            number=number,
            uploader=uploader,
            uploader_number=uploader_number,
            size=metainfo.size,
            piece_length=metainfo.piece_length,
            files=metainfo.file_count,
            info_hash=metainfo.info_hash,
            info_hash_v1=metainfo.info_hash_v1,
            info_hash_v2=metainfo.info_hash_v2,
            original_info_hash=original.info_hash if changed else None,
            original_info_hash_v2=original.info_hash_v2 if changed else None,
            content_signature=metainfo.content_signature,
            file_ref=file_ref.hex(),
            nfo_ref=nfo_ref.hex() if nfo_ref else None,
            **_fields_of(details),
        )
    ]


def edit_torrent(
    torrent: Torrent | None,
    details: TorrentDetails,
    *,
    editor: UUID,
    is_staff: bool,
    seen: int | None = None,
) -> list[Fact]:
    """Change what a torrent's page says; nothing when it says that already.

    `seen` is the version the editor acted upon, None when he goes by the newest. Raises
    `TorrentNotFound`, `TorrentNotYours`, `TorrentEditedMeanwhile`.
    """
    torrent = require_changeable(torrent, editor, is_staff=is_staff)
    if seen is not None and seen != torrent.version:
        raise TorrentEditedMeanwhile(editor=torrent.edited_by, version=torrent.version)
    if details == torrent.details:
        return []
    return [TorrentEdited(**_fields_of(details))]


def withdraw_torrent(torrent: Torrent | None, *, withdrawer: UUID, is_staff: bool) -> list[Fact]:
    """Take a torrent out and free its hashes. Raises `TorrentNotFound`, `TorrentNotYours`."""
    torrent = require_changeable(torrent, withdrawer, is_staff=is_staff)
    return [
        TorrentWithdrawn(
            number=torrent.number,
            uploader=torrent.uploader,
            info_hash=torrent.info_hash,
            info_hash_v2=torrent.info_hash_v2,
            original_info_hash=torrent.original_info_hash,
            original_info_hash_v2=torrent.original_info_hash_v2,
        )
    ]


def require_changeable(torrent: Torrent | None, who: UUID, *, is_staff: bool) -> Torrent:
    """The torrent, where its uploader or staff asks. Raises `TorrentNotFound`, `TorrentNotYours`."""
    if torrent is None or torrent.withdrawn:
        raise TorrentNotFound()
    if not (is_staff or who == torrent.uploader):
        raise TorrentNotYours()
    return torrent


def _valid_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for tag in (tag.strip() for tag in tags):
        if len(tag) > TAG_LENGTH:
            raise TorrentDetailsInvalid(
                f"tags: each must have at most {TAG_LENGTH} characters", field="tags"
            )
        if slug := slugify(tag):
            kept.setdefault(slug, tag)
    if len(kept) > TAGS:
        raise TorrentDetailsInvalid(f"tags: at most {TAGS}", field="tags")
    return tuple(kept.values())


def _tagged(tags: tuple[str, ...], at: datetime) -> tuple[tuple[str, datetime], ...]:
    return tuple((slugify(tag), at) for tag in tags)


def _details_of(fact: TorrentUploaded | TorrentEdited) -> TorrentDetails:
    return TorrentDetails(
        name=fact.name,
        description=fact.description,
        category=fact.category,
        media=MediaIds(
            imdb=fact.imdb,
            tmdb=fact.tmdb,
            tvdb=fact.tvdb,
            igdb=fact.igdb,
            openlibrary=fact.openlibrary,
        ),
        tags=fact.tags,
    )


def _fields_of(details: TorrentDetails) -> dict[str, Any]:
    media = details.media
    return {
        "name": details.name,
        "description": details.description,
        "category": details.category,
        "tags": details.tags,
        **{field: getattr(media, field) for field in media.__struct_fields__},
    }
