"""Upload rules: what an upload must bring, read by everybody, changed by administrators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from msgspec import UNSET
from pydantic import Field

from application.bus import Actor
from application.upload_rules import ChangeUploadRules, bypasses_rules
from application.uploads import NFO_BYTES
from domain.errors import Conflict
from domain.metainfo import MAX_BYTES, MAX_FILES
from domain.torrents import DESCRIPTION_LENGTH, NAME_LENGTH, TAGS
from domain.upload_rules import (
    PATTERNS,
    RuleBook,
    UploadRules,
    UploadRulesInvalid,
    anchored,
    effective_pattern,
)
from interfaces.http.deps import Administrator, Commands, MaybeSignedIn, Reads
from interfaces.http.errors import refusals
from interfaces.http.models import Line, Reply, StrictBody
from projections.taxonomy import CategoryRow, list_categories
from projections.upload_rules import find_upload_rules

router = APIRouter(tags=["Upload rules"])


class UploadLimitsReply(Reply):
    """What no rule changes: sizes in bytes, lengths in characters."""

    torrent_file_bytes: int = MAX_BYTES
    files: int = MAX_FILES
    nfo_bytes: int = NFO_BYTES
    name_length: int = NAME_LENGTH
    description_length: int = DESCRIPTION_LENGTH
    tags: int = TAGS


class UploadRulesReply(Reply):
    """The rules in force. `maxTorrentSize` is in bytes, null has no limit; no allowed extensions
    allow all. Patterns are of the RE2 syntax and searched in either case.

    Only members see the blocklist and the patterns: `effectiveCategoryPatterns` has each
    category's own or inherited one as it is applied, `bypassed` says that the caller's uploads
    are not held to the rules.
    """

    nfo_required: bool
    description_required: bool
    description_min_length: int
    tmdb_id_required: bool
    required_media_ids: list[str]
    max_torrent_size: int | None
    allowed_extensions: list[str]
    title_pattern_enforced: bool
    staff_bypass: bool
    limits: UploadLimitsReply
    title_blocklist: str | None
    category_patterns: dict[UUID, str] | None
    effective_category_patterns: dict[UUID, str] | None
    bypassed: bool | None


class AdminUploadRulesReply(UploadRulesReply):
    """The rules with their version, which a change may name as the one it is about."""

    version: int


class UploadRulesBody(StrictBody):
    """All rules, for they are replaced at once. An empty pattern takes a category's away.

    The two lists the reference has not stay as they are when they are not sent.
    """

    nfo_required: bool
    description_required: bool
    description_min_length: int
    tmdb_id_required: bool
    max_torrent_size: int | None
    title_pattern_enforced: bool
    title_blocklist: Line | None
    staff_bypass: bool
    category_patterns: Annotated[dict[str, Line], Field(max_length=PATTERNS)]
    allowed_extensions: Annotated[list[Line], Field(max_length=1_000)] | None = None
    required_media_ids: Annotated[list[Line], Field(max_length=100)] | None = None
    version: int | None = None


@router.get("/api/upload-rules")
def show_upload_rules(caller: MaybeSignedIn, reads: Reads) -> UploadRulesReply:
    """Show what an upload must bring."""
    with reads.connection() as connection:
        rules = find_upload_rules(connection).rules
        categories = list_categories(connection)
    return UploadRulesReply.model_validate(_fields(rules, categories, caller))


@router.get("/api/admin/upload-rules")
def show_all_upload_rules(caller: Administrator, reads: Reads) -> AdminUploadRulesReply:
    """Show the rules and the version they are in."""
    with reads.connection() as connection:
        row = find_upload_rules(connection)
        categories = list_categories(connection)
    return AdminUploadRulesReply.model_validate(
        {**_fields(row.rules, categories, caller), "version": row.version}
    )


@router.put("/api/admin/upload-rules", responses=refusals(Conflict))
def change_upload_rules(
    body: UploadRulesBody, caller: Administrator, reads: Reads, call: Commands
) -> AdminUploadRulesReply:
    """Replace all rules at once, or none: what can't be kept is named in `data.invalidFields`."""
    with reads.connection() as connection:
        categories = list_categories(connection)
    extensions = body.allowed_extensions
    book: RuleBook = call.dispatch(
        ChangeUploadRules(
            rules=_rules_of(body),
            tmdb_required=body.tmdb_id_required,
            required_media=UNSET
            if body.required_media_ids is None
            else tuple(body.required_media_ids),
            allowed_extensions=UNSET
            if extensions is None
            else tuple(each.lower().removeprefix(".") for each in extensions),
            seen=body.version,
        )
    )
    return AdminUploadRulesReply.model_validate(
        {**_fields(book.rules, categories, caller), "version": book.version}
    )


def _rules_of(body: UploadRulesBody) -> UploadRules:
    return UploadRules(
        nfo_required=body.nfo_required,
        description_required=body.description_required,
        description_min_length=body.description_min_length,
        title_pattern_enforced=body.title_pattern_enforced,
        title_blocklist=body.title_blocklist or None,
        max_torrent_size=body.max_torrent_size,
        staff_bypass=body.staff_bypass,
        category_patterns=tuple(_patterns(body.category_patterns)),
    )


def _patterns(sent: Mapping[str, str]) -> Iterator[tuple[UUID, str]]:
    for category, pattern in sent.items():
        try:
            named = UUID(category)
        except ValueError:
            told = "there is no such category"
            raise UploadRulesInvalid(
                f"categoryPatterns: {told}",
                invalid_fields={f"categoryPatterns.{category[:40]}": told},
            ) from None
        if pattern:
            yield named, pattern


def _fields(
    rules: UploadRules, categories: Sequence[CategoryRow], caller: Actor | None
) -> dict[str, object]:
    member = caller is not None
    there = {row.id for row in categories}
    return {
        "nfo_required": rules.nfo_required,
        "description_required": rules.description_required,
        "description_min_length": rules.description_min_length,
        "tmdb_id_required": "tmdb" in rules.required_media,
        "required_media_ids": list(rules.required_media),
        "max_torrent_size": rules.max_torrent_size,
        "allowed_extensions": list(rules.allowed_extensions),
        "title_pattern_enforced": rules.title_pattern_enforced,
        "staff_bypass": rules.staff_bypass,
        "limits": UploadLimitsReply(),
        "title_blocklist": rules.title_blocklist if member else None,
        "category_patterns": {
            category: pattern for category, pattern in rules.category_patterns if category in there
        }
        if member
        else None,
        "effective_category_patterns": dict(_effective(rules, categories)) if member else None,
        "bypassed": bypasses_rules(rules, caller) if member else None,
    }


def _effective(rules: UploadRules, categories: Sequence[CategoryRow]) -> Iterator[tuple[UUID, str]]:
    """The pattern that applies to each category: its own, else that of the one above it."""
    for row in categories:
        above = (row.id, row.parent) if row.parent else (row.id,)
        pattern = effective_pattern(rules, above)
        if pattern is not None:
            yield row.id, anchored(pattern)
