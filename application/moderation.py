"""Moderating uploads: status changes and what is said about them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Actor, Handler, Unit
from domain import moderation, torrents, users
from domain.errors import Conflict
from domain.kernel import Fact
from domain.permissions import Permission


class ApproveTorrent(msgspec.Struct, frozen=True, kw_only=True):
    """Accept a torrent. `seen` is the status the moderator acted upon, `version` the torrent's."""

    torrent: UUID
    message_id: UUID
    message: str | None = None
    seen: moderation.ModerationStatus | None = None
    version: int | None = None


class RequestTorrentChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the uploader to change a torrent. `seen` is the status the moderator acted upon, `version` the torrent's."""

    torrent: UUID
    message_id: UUID
    message: str
    seen: moderation.ModerationStatus | None = None
    version: int | None = None


class RejectTorrent(msgspec.Struct, frozen=True, kw_only=True):
    """Reject a torrent. `seen` is the status the moderator acted upon, `version` the torrent's."""

    torrent: UUID
    message_id: UUID
    message: str
    seen: moderation.ModerationStatus | None = None
    version: int | None = None


class ResetTorrent(msgspec.Struct, frozen=True, kw_only=True):
    """Take a rejection back."""

    torrent: UUID
    message_id: UUID
    message: str
    to: moderation.ResetStatus = "pending"


class PostModerationMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Write in a torrent's moderation thread."""

    torrent: UUID
    message_id: UUID
    message: str


class TorrentModerated(msgspec.Struct, frozen=True, kw_only=True):
    """Where the torrent stands now, who put it there when, and the message that left."""

    torrent: UUID
    status: moderation.ModerationStatus
    message_id: UUID
    moderator: UUID
    moderator_name: str
    at: datetime


class ModerationMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The message as it was posted."""

    id: UUID
    torrent: UUID
    author: UUID
    body: str
    created_at: datetime


def is_staff(actor: Actor | None) -> bool:
    """Whether this caller moderates."""
    return actor is not None and Permission.CAN_MODERATE.value in actor.permissions


def handle_approve_torrent(unit: Unit, command: ApproveTorrent) -> TorrentModerated:
    """Accept it; refusals as in `approve_torrent`, and `TorrentEditedMeanwhile`."""
    return _moderate(
        unit,
        command.torrent,
        lambda thread: moderation.approve_torrent(
            thread,
            moderator=unit.actor.account,
            message_id=command.message_id,
            message=command.message,
            seen=command.seen,
        ),
        version=command.version,
    )


def handle_request_torrent_changes(unit: Unit, command: RequestTorrentChanges) -> TorrentModerated:
    """Ask for changes; refusals as in `request_torrent_changes`, and `TorrentEditedMeanwhile`."""
    return _moderate(
        unit,
        command.torrent,
        lambda thread: moderation.request_torrent_changes(
            thread,
            moderator=unit.actor.account,
            message_id=command.message_id,
            message=command.message,
            seen=command.seen,
        ),
        version=command.version,
    )


def handle_reject_torrent(unit: Unit, command: RejectTorrent) -> TorrentModerated:
    """Reject it; refusals as in `reject_torrent`, and `TorrentEditedMeanwhile`."""
    return _moderate(
        unit,
        command.torrent,
        lambda thread: moderation.reject_torrent(
            thread,
            moderator=unit.actor.account,
            message_id=command.message_id,
            message=command.message,
            seen=command.seen,
        ),
        version=command.version,
    )


def handle_reset_torrent(unit: Unit, command: ResetTorrent) -> TorrentModerated:
    """Take the rejection back; refusals as in `reset_torrent`."""
    return _moderate(
        unit,
        command.torrent,
        lambda thread: moderation.reset_torrent(
            thread,
            moderator=unit.actor.account,
            message_id=command.message_id,
            message=command.message,
            to=command.to,
        ),
    )


def record_reject_torrent(unit: Unit, torrent: UUID, *, message_id: UUID, message: str) -> bool:
    """Add a rejection by the caller to what `unit` saves, where there is still one to make.

    False when the torrent is rejected already or was withdrawn: then nothing is added.
    """
    thread = _load_thread(unit, torrent)
    if thread is None or thread.closed or thread.status == "rejected":
        return False
    facts = moderation.reject_torrent(
        thread, moderator=unit.actor.account, message_id=message_id, message=message
    )
    unit.record(thread.id, thread.version, facts)
    return True


def handle_post_moderation_message(unit: Unit, command: PostModerationMessage) -> ModerationMessage:
    """Post it; refusals as in `post_moderation_message`."""
    thread = _load_thread(unit, command.torrent)
    facts = moderation.post_moderation_message(
        thread,
        author=unit.actor.account,
        is_staff=is_staff(unit.actor),
        message_id=command.message_id,
        message=command.message,
    )
    unit.record(moderation.thread_id(command.torrent), thread.version if thread else 0, facts)
    posted = next(fact for fact in facts if isinstance(fact, moderation.ModerationMessagePosted))
    return ModerationMessage(
        id=posted.message_id,
        torrent=posted.torrent,
        author=posted.author,
        body=posted.message.text or "",
        created_at=unit.at,
    )


def _load_thread(unit: Unit, torrent: UUID) -> moderation.ModerationThread | None:
    return unit.load(moderation.thread_id(torrent), moderation.evolve)


Decision = Callable[[moderation.ModerationThread | None], list[Fact]]


def _moderate(
    unit: Unit, torrent: UUID, decide: Decision, *, version: int | None = None
) -> TorrentModerated:
    thread = _load_thread(unit, torrent)
    try:
        facts = decide(thread)
    except Conflict as refusal:
        raise _told_by_whom(unit, thread, refusal) from None
    if version is not None:
        _require_unedited(unit, torrent, version)
    changed = next(fact for fact in facts if isinstance(fact, moderation.ModeratorFact))
    unit.record(moderation.thread_id(torrent), thread.version if thread else 0, facts)
    return TorrentModerated(
        torrent=torrent,
        status=moderation.status_after(changed),
        message_id=changed.message_id,
        moderator=changed.moderator,
        moderator_name=unit.actor.username,
        at=unit.at,
    )


def _require_unedited(unit: Unit, torrent: UUID, version: int) -> None:
    """What is decided about must be what the moderator saw, until the decision is saved.

    Raises `TorrentEditedMeanwhile`.
    """
    found = unit.load(torrent, torrents.evolve)
    if found is None:
        raise torrents.TorrentNotFound()
    if found.version != version:
        editor = name_of(unit, found.edited_by) if found.edited_by else None
        raise torrents.TorrentEditedMeanwhile(editor=editor, version=found.version)
    unit.rest_on(torrent, version)


def _told_by_whom(
    unit: Unit, thread: moderation.ModerationThread | None, refusal: Conflict
) -> Conflict:
    """The same refusal, saying who decided what: the other moderator's name and the status."""
    if thread is None:
        return refusal
    decided_by = name_of(unit, thread.moderator) if thread.moderator else None
    return type(refusal)(refusal.text, moderator=decided_by, status=thread.status)


def name_of(unit: Unit, moderator: UUID) -> dict[str, str | None]:
    """Who decided, as a refusal tells it."""
    account = unit.load(moderator, users.evolve)
    return {"id": str(moderator), "username": account.username if account else None}


HANDLERS: dict[type, Handler] = {
    ApproveTorrent: handle_approve_torrent,
    RequestTorrentChanges: handle_request_torrent_changes,
    RejectTorrent: handle_reject_torrent,
    ResetTorrent: handle_reset_torrent,
    PostModerationMessage: handle_post_moderation_message,
}
