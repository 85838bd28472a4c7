"""Uploading a torrent, and asking before it whether the site has it."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import Field, ValidationError, field_validator

from application.bus import Actor
from application.uploads import (
    NFO_BYTES,
    CategoryUnknown,
    TorrentUploaded,
    UploadTorrent,
    rehearse_upload,
)
from domain.errors import Conflict, Invalid, TooLarge
from domain.media_ids import MediaIds, parse_media_ids
from domain.metainfo import MAX_BYTES, Metainfo, read_metainfo, store_private
from domain.torrents import DESCRIPTION_LENGTH, NAME_LENGTH, hash_claim
from interfaces.http.deps import Commands, ReadAccess, Reads, Services, SignedIn
from interfaces.http.errors import UnsupportedMediaType, refusals, validation_message
from interfaces.http.models import Body, Instant, Line, Prose, Reply
from interfaces.http.multipart import Form, form_schema, read_form
from interfaces.http.services import HttpServices
from interfaces.http.tags import names_of_tags
from interfaces.http.torrent_replies import magnet_link, may_see
from projections.torrent_pages import TorrentRow, find_torrent_by_id

router = APIRouter(tags=["Torrents"])

MAX_FORM = MAX_BYTES + NFO_BYTES + 1024 * 1024
"""Bytes of an upload form: the largest file, an NFO, and a description with its headers."""
_FILES = 4
_CHECK_JSON = 4096
"""Bytes of a check by hash; it is read where no other request is served meanwhile."""


class UploadFields(Body):
    """Everything of the form but its files."""

    name: Line | None = Field(default=None, max_length=NAME_LENGTH)
    description: Prose = Field(default="", max_length=DESCRIPTION_LENGTH)
    category_id: UUID | None = None
    tags: tuple[Annotated[Line, Field(max_length=200)], ...] = Field(default=(), max_length=100)
    tag_ids: tuple[UUID, ...] = Field(default=(), max_length=100)
    imdb_id: Line | None = None
    tmdb_id: Line | None = None
    tvdb_id: Line | None = None
    igdb_id: Line | None = None
    openlibrary_id: Line | None = None
    nfo: str | None = None

    @field_validator("tags", "tag_ids", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        """A JSON array; empty text means none."""
        if not isinstance(value, str):
            return value
        if not value.strip():
            return ()
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("must be a JSON array") from None


class UploadedTorrentReply(Reply):
    """The torrent as stored. With `infoHashChanged` clients must take the file from here."""

    id: UUID
    info_hash: str
    info_hash_v2: str | None
    info_hash_changed: bool
    original_info_hash: str | None
    name: str
    size: int
    file_count: int
    is_active: bool = True
    moderation_status: str
    created_at: Instant
    magnet_link: str


class UploadTorrentReply(Reply):
    """The answer to an upload; `message` says what happens next."""

    success: bool = True
    message: str
    data: UploadedTorrentReply


class CheckTorrentBody(Body):
    """A hash of 40 or 64 hex digits."""

    info_hash: str = Field(pattern=r"^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$")


class BrokenRuleReply(Reply):
    """A rule of the site an upload would break, and what would be right."""

    reason: str
    detail: str | int | None


class ExistingTorrentReply(Reply):
    """The torrent that has the hash already."""

    id: UUID
    info_hash: str
    name: str
    moderation_status: str
    created_at: Instant


class CheckTorrentReply(Reply):
    """Whether the site has this torrent. A hidden one answers as none.

    `infoHash` is the hash it would be stored under, `originalInfoHash` that of the file as sent.
    `brokenRules` are those of an upload with the fields sent beside the file, and
    `suggestedTags` what it would be tagged with; both null where no file was sent.
    """

    info_hash: str
    original_info_hash: str
    exists: bool
    existing: ExistingTorrentReply | None
    broken_rules: list[BrokenRuleReply] | None = None
    suggested_tags: list[str] | None = None


class NoTorrentFile(Invalid):
    """The form has no .torrent file."""

    code = "torrent_file_missing"
    message = "torrent: send the .torrent file in a part of this name"


async def _upload_form(request: Request, _caller: SignedIn) -> Form:
    """The form, read once its sender is known."""
    return await read_form(request, files=_FILES)


async def _check_input(request: Request, _caller: SignedIn) -> Form | CheckTorrentBody:
    """A form with the file, or JSON with the hash."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await read_form(request, files=_FILES)
    if kind != "application/json":
        raise UnsupportedMediaType("Send application/json or multipart/form-data.")
    body = await request.body()
    if len(body) > _CHECK_JSON:
        raise TooLarge(f"body: must have at most {_CHECK_JSON} bytes")
    try:
        return CheckTorrentBody.model_validate(json.loads(body))
    except ValidationError as fault:
        raise Invalid(validation_message(fault.errors())) from None
    except (ValueError, RecursionError):
        raise Invalid("body: not valid JSON") from None


_FILE_SCHEMA = {
    "type": "string",
    "format": "binary",
    "contentMediaType": "application/x-bittorrent",
}
_TEXT = {"type": "string"}
_UPLOAD_FORM = form_schema(
    {
        "torrent": _FILE_SCHEMA,
        "name": {**_TEXT, "maxLength": NAME_LENGTH},
        "description": {**_TEXT, "maxLength": DESCRIPTION_LENGTH},
        "categoryId": {**_TEXT, "format": "uuid"},
        "tags": {**_TEXT, "description": "JSON array of names or ids"},
        "tagIds": {**_TEXT, "description": "JSON array of ids"},
        "imdbId": _TEXT,
        "tmdbId": _TEXT,
        "tvdbId": _TEXT,
        "igdbId": _TEXT,
        "openlibraryId": _TEXT,
        "nfo": {"type": "string", "format": "binary"},
    },
    required=("torrent",),
)
_CHECK_BODY: dict[str, Any] = deepcopy(_UPLOAD_FORM)
_CHECK_BODY["requestBody"]["content"]["application/json"] = {
    "schema": CheckTorrentBody.model_json_schema()
}


@router.post(
    "/api/torrents",
    max_body_size=MAX_FORM,
    openapi_extra=_UPLOAD_FORM,
    responses=refusals(Conflict, TooLarge, CategoryUnknown),
)
def upload_torrent(
    form: Annotated[Form, Depends(_upload_form)], reads: Reads, call: Commands, services: Services
) -> UploadTorrentReply:
    """Upload a .torrent file with what is to be said about it.

    A refusal by a rule of the site says which in `data.reason`.
    """
    fields = _fields_of(form)
    uploaded: TorrentUploaded = call.dispatch(
        UploadTorrent(
            torrent=services.entropy.uuid(),
            file=_torrent_file(form),
            name=fields.name or None,
            description=fields.description,
            category=fields.category_id,
            tags=_tags_of(fields, reads),
            media=_media_of(fields),
            nfo=_nfo(form, fields),
        )
    )
    return UploadTorrentReply(
        message=_next_step(uploaded),
        data=_uploaded_reply(uploaded, services.torrents.addresses.http),
    )


@router.post("/api/torrents/check", max_body_size=MAX_FORM, openapi_extra=_CHECK_BODY)
def check_torrent(
    sent: Annotated[Form | CheckTorrentBody, Depends(_check_input)],
    caller: SignedIn,
    reads: Reads,
    services: Services,
) -> CheckTorrentReply:
    """Ask whether the site has a torrent, by its file or its hash."""
    rehearsal: dict[str, Any] = {}
    if isinstance(sent, Form):
        content = _torrent_file(sent)
        read = read_metainfo(content)
        original, info_hash = read.info_hash, store_private(content, read)[1].info_hash
        rehearsal = _rehearse(sent, read, caller, reads, services)
    else:
        original = info_hash = sent.info_hash.lower()
    row = None
    with reads.connection() as connection:
        for known in dict.fromkeys((info_hash, original)):
            owner = services.log.claim_owner(hash_claim(known))
            found = find_torrent_by_id(connection, owner) if owner else None
            if found is not None and may_see(found, caller):
                row = found
                break
    return CheckTorrentReply(
        info_hash=info_hash,
        original_info_hash=original,
        exists=row is not None,
        existing=_existing_reply(row) if row else None,
        **rehearsal,
    )


def _rehearse(
    form: Form, content: Metainfo, caller: Actor, reads: ReadAccess, services: HttpServices
) -> dict[str, Any]:
    """What the rules would say to the upload, and its tags; nothing is recorded."""
    fields = _fields_of(form)
    with reads.connection() as connection:
        tags = names_of_tags(connection, names=fields.tags, ids=fields.tag_ids)
    rehearsed = rehearse_upload(
        services.log,
        UploadTorrent(
            torrent=services.entropy.uuid(),
            file=b"",
            name=fields.name or None,
            description=fields.description,
            category=fields.category_id,
            tags=tags,
            media=_media_of(fields),
            nfo=_nfo(form, fields),
        ),
        content,
        caller,
    )
    return {
        "broken_rules": [
            BrokenRuleReply(reason=rule.reason, detail=rule.detail) for rule in rehearsed.broken
        ],
        "suggested_tags": list(rehearsed.details.tags),
    }


def _existing_reply(row: TorrentRow) -> ExistingTorrentReply:
    return ExistingTorrentReply(
        id=row.id,
        info_hash=row.info_hash,
        name=row.name,
        moderation_status=row.status,
        created_at=row.created_at,
    )


def _fields_of(form: Form) -> UploadFields:
    sent = {name: value for name, value in form.fields.items() if value != ""}
    try:
        return UploadFields.model_validate(sent)
    except ValidationError as fault:
        raise Invalid(validation_message(fault.errors())) from None


def _tags_of(fields: UploadFields, reads: ReadAccess) -> tuple[str, ...]:
    if not (fields.tags or fields.tag_ids):
        return ()
    with reads.connection() as connection:
        return names_of_tags(connection, names=fields.tags, ids=fields.tag_ids)


def _media_of(fields: UploadFields) -> MediaIds:
    return parse_media_ids(
        imdb=fields.imdb_id,
        tmdb=fields.tmdb_id,
        tvdb=fields.tvdb_id,
        igdb=fields.igdb_id,
        openlibrary=fields.openlibrary_id,
    )


def _torrent_file(form: Form) -> bytes:
    """The part named torrent, else the first file whose own name ends in .torrent."""
    part = form.files.get("torrent")
    if part is None:
        named = [file for file in form.files.values() if _has_suffix(file.filename, ".torrent")]
        if not named:
            raise NoTorrentFile()
        part = named[0]
    return part.content


def _nfo(form: Form, fields: UploadFields) -> bytes | None:
    for name, part in form.files.items():
        if name in {"nfo", "nfoFile"} or _has_suffix(part.filename, ".nfo"):
            return part.content or None
    return fields.nfo.encode() if fields.nfo else None


def _has_suffix(filename: str, suffix: str) -> bool:
    return filename.lower().endswith(suffix)


def _next_step(uploaded: TorrentUploaded) -> str:
    if uploaded.status == "accepted":
        return "Torrent uploaded."
    return "Torrent uploaded; it will be listed once a moderator has approved it."


def _uploaded_reply(uploaded: TorrentUploaded, announce: str) -> UploadedTorrentReply:
    return UploadedTorrentReply(
        id=uploaded.torrent,
        info_hash=uploaded.info_hash,
        info_hash_v2=uploaded.info_hash_v2,
        info_hash_changed=uploaded.info_hash_changed,
        original_info_hash=uploaded.original_info_hash,
        name=uploaded.name,
        size=uploaded.size,
        file_count=uploaded.file_count,
        moderation_status=uploaded.status,
        created_at=uploaded.created_at,
        magnet_link=magnet_link(uploaded.info_hash, uploaded.info_hash_v2, uploaded.name, announce),
    )
