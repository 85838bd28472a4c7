"""Editing torrents and taking them out, by their uploaders and by moderators."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from application.bus import Handler, Unit
from application.moderation import is_staff
from application.tags import tags_left
from application.taxonomy import load_category
from application.upload_rules import (
    bypasses_rules,
    candidate,
    load_rule_book,
    member_named,
    rules_broken_by,
)
from application.uploads import CategoryUnknown, bypass_of
from domain import moderation, taxonomy, torrents, upload_rules
from domain.media_ids import MediaIds
from domain.torrents import Torrent, TorrentDetails


class EditTorrent(msgspec.Struct, frozen=True, kw_only=True):
    """Change what a torrent's page says; what is not given stays.

    `media` holds ids by their database, in normal form. `seen` is the version the editor acted
    upon: with it an edit in between is a conflict, without it the later edit of a field stands.
    """

    torrent: UUID
    message_id: UUID
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    category: UUID | UnsetType | None = UNSET
    media: dict[str, str | None] = {}
    tags: tuple[str, ...] | UnsetType = UNSET
    seen: int | None = None


class ReplaceTorrentTags(msgspec.Struct, frozen=True, kw_only=True):
    """Give a torrent exactly these tags. `seen` as in `EditTorrent`."""

    torrent: UUID
    message_id: UUID
    tags: tuple[str, ...]
    seen: int | None = None


class WithdrawTorrent(msgspec.Struct, frozen=True, kw_only=True):
    """Take a torrent out of the catalogue and free its hashes."""

    torrent: UUID


class TorrentEdited(msgspec.Struct, frozen=True, kw_only=True):
    """The torrent after the edit; `reverted_to_pending` says it must be looked at again."""

    torrent: UUID
    version: int
    info_hash: str
    details: TorrentDetails
    status: moderation.ModerationStatus
    reverted_to_pending: bool
    edited_at: datetime


class TorrentWithdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """The torrent that is gone."""

    torrent: UUID
    info_hash: str
    name: str


def handle_edit_torrent(unit: Unit, command: EditTorrent) -> TorrentEdited:
    """Edit it. Raises `TorrentNotFound`, `TorrentNotYours`, `TorrentIsRejected`,
    `TorrentEditedMeanwhile`, `TorrentDetailsInvalid`, `CategoryUnknown`, `UploadRuleBroken`.
    """
    torrent, thread = _open_for_edit(unit, command.torrent)
    before = torrent.details
    media = {**msgspec.structs.asdict(before.media), **command.media}
    details = torrents.torrent_details(
        name=before.name if command.name is UNSET else command.name,
        description=before.description if command.description is UNSET else command.description,
        category=before.category if command.category is UNSET else command.category,
        media=MediaIds(**media),
        tags=before.tags if command.tags is UNSET else command.tags,
    )
    return _edit(unit, torrent, thread, details, message_id=command.message_id, seen=command.seen)


def handle_replace_torrent_tags(unit: Unit, command: ReplaceTorrentTags) -> TorrentEdited:
    """Replace them; refusals as in `handle_edit_torrent`."""
    torrent, thread = _open_for_edit(unit, command.torrent)
    before = torrent.details
    details = torrents.torrent_details(
        name=before.name,
        description=before.description,
        category=before.category,
        media=before.media,
        tags=command.tags,
    )
    return _edit(unit, torrent, thread, details, message_id=command.message_id, seen=command.seen)


def handle_withdraw_torrent(unit: Unit, command: WithdrawTorrent) -> TorrentWithdrawn:
    """Withdraw it. Raises `TorrentNotFound`, `TorrentNotYours`, and `TorrentIsRejected` to its
    uploader: a rejection keeps the hash taken, and only staff may free it.
    """
    staff = is_staff(unit.actor)
    torrent, thread = _open(unit, command.torrent)
    if thread.status == "rejected" and not staff:
        raise _frozen(unit, thread)
    unit.record(
        torrent.id,
        torrent.version,
        torrents.withdraw_torrent(torrent, withdrawer=unit.actor.account, is_staff=staff),
    )
    unit.record(thread.id, thread.version, moderation.close_moderation(thread))
    return TorrentWithdrawn(
        torrent=torrent.id, info_hash=torrent.info_hash, name=torrent.details.name
    )


def _open(unit: Unit, torrent: UUID) -> tuple[Torrent, moderation.ModerationThread]:
    """The torrent and its thread, where this caller may change them."""
    found = torrents.require_changeable(
        unit.load(torrent, torrents.evolve), unit.actor.account, is_staff=is_staff(unit.actor)
    )
    thread = unit.load(moderation.thread_id(torrent), moderation.evolve)
    if thread is None:
        raise torrents.TorrentNotFound()
    return found, thread


def _open_for_edit(unit: Unit, torrent: UUID) -> tuple[Torrent, moderation.ModerationThread]:
    """As `_open`, the torrent without the tags that were removed: so it says by now."""
    found, thread = _open(unit, torrent)
    left = msgspec.structs.replace(found.details, tags=tags_left(unit, found))
    return msgspec.structs.replace(found, details=left), thread


def _edit(
    unit: Unit,
    torrent: Torrent,
    thread: moderation.ModerationThread,
    details: TorrentDetails,
    *,
    message_id: UUID,
    seen: int | None,
) -> TorrentEdited:
    """Record the edit and, where its editor does not bypass moderation, what its thread says."""
    try:
        resubmitted = moderation.resubmit_torrent(
            thread, bypasses=bypass_of(unit.actor) is not None, message_id=message_id
        )
    except moderation.TorrentIsRejected:
        raise _frozen(unit, thread) from None
    try:
        facts = torrents.edit_torrent(
            torrent, details, editor=unit.actor.account, is_staff=is_staff(unit.actor), seen=seen
        )
    except torrents.TorrentEditedMeanwhile as refusal:
        who = member_named(unit, torrent.edited_by) if torrent.edited_by else None
        raise type(refusal)(refusal.text, editor=who, version=torrent.version) from None
    reverted = bool(facts and resubmitted) and thread.status != "pending"
    if facts:
        _require_rules(unit, torrent.details, details)
        unit.record(torrent.id, torrent.version, facts)
        unit.record(thread.id, thread.version, resubmitted)
        # Who bypasses moderation says nothing in the thread; a rejection stops him all the same.
        unit.rest_on(thread.id, thread.version)
    return TorrentEdited(
        torrent=torrent.id,
        version=torrent.version + len(facts),
        info_hash=torrent.info_hash,
        details=details,
        status="pending" if reverted else thread.status,
        reverted_to_pending=reverted,
        edited_at=unit.at,
    )


def _require_rules(unit: Unit, before: TorrentDetails, after: TorrentDetails) -> None:
    """Hold what was changed to the rules: what was right once may stay."""
    category = _category(unit, after.category)
    if after.category is not None and category is None and after.category != before.category:
        raise CategoryUnknown()
    rules = load_rule_book(unit).rules
    if bypasses_rules(rules, unit.actor):
        return
    changed = set(_changed_subjects(before, after))
    upload = candidate(
        name=after.name, description=after.description, category=category, media=after.media
    )
    upload_rules.require_rules(
        rule
        for rule in rules_broken_by(rules, upload)
        if upload_rules.subject_of(rule.reason) in changed
    )


def _category(unit: Unit, category: UUID | None) -> taxonomy.Category | None:
    return load_category(unit, category) if category is not None else None


def _changed_subjects(before: TorrentDetails, after: TorrentDetails) -> Iterator[str]:
    if before.description != after.description:
        yield "description"
    if (before.name, before.category) != (after.name, after.category):
        yield "title"
    if before.media != after.media:
        yield "media"


def _frozen(unit: Unit, thread: moderation.ModerationThread) -> moderation.TorrentIsRejected:
    """The refusal to change a rejected torrent, saying who rejected it."""
    who = member_named(unit, thread.moderator) if thread.moderator else None
    return moderation.TorrentIsRejected(moderator=who, status=thread.status)


HANDLERS: dict[type, Handler] = {
    EditTorrent: handle_edit_torrent,
    ReplaceTorrentTags: handle_replace_torrent_tags,
    WithdrawTorrent: handle_withdraw_torrent,
}
