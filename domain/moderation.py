"""Moderation of uploads: the thread of one torrent, its status, and who may change it."""

from __future__ import annotations

from uuid import UUID, uuid5

import msgspec

from domain.errors import Conflict, Invalid, NotFound
from domain.kernel import Envelope, Fact, Private
from domain.moderation_events import (
    SYSTEM_BODIES,
    Bypass,
    ModerationClosed,
    ModerationMessagePosted,
    ModerationOpened,
    ModerationStatus,
    ModeratorFact,
    ResetStatus,
    StatusFact,
    TorrentApproved,
    TorrentChangesRequested,
    TorrentRejected,
    TorrentReset,
    TorrentResubmitted,
    moderator_of,
    status_after,
)

__all__ = [
    "SYSTEM_BODIES",
    "Bypass",
    "ModerationClosed",
    "ModerationMessagePosted",
    "ModerationOpened",
    "ModerationStatus",
    "ModeratorFact",
    "ResetStatus",
    "StatusFact",
    "TorrentApproved",
    "TorrentChangesRequested",
    "TorrentRejected",
    "TorrentReset",
    "TorrentResubmitted",
    "approve_torrent",
    "close_moderation",
    "evolve",
    "open_moderation",
    "post_moderation_message",
    "reject_torrent",
    "request_torrent_changes",
    "reset_torrent",
    "resubmit_torrent",
    "status_after",
    "thread_id",
]

MESSAGE_LENGTH = 4000


class ModerationThreadNotFound(NotFound):
    """No such torrent, or hidden from the one who asks."""

    code = "torrent_not_found"
    message = "Torrent not found"


class TorrentAlreadyAccepted(Conflict):
    """Approving twice; `data["moderator"]` is who was first, None after a bypass."""

    code = "torrent_already_accepted"
    message = "This torrent is already accepted."


class TorrentIsRejected(Conflict):
    """Only a reset leads out of a rejection; `data["moderator"]` is who rejected."""

    code = "torrent_is_rejected"
    message = "This torrent is rejected; reset it first."


class TorrentNotRejected(Conflict):
    """Only a rejected torrent can be reset."""

    code = "torrent_not_rejected"
    message = "Only a rejected torrent can be reset."


class ModeratedMeanwhile(Conflict):
    """Another moderator decided first; `data` has `moderator` and the new `status`."""

    code = "moderated_meanwhile"
    message = "Another moderator has decided about this torrent meanwhile; look at it again."


class ModerationEnded(Conflict):
    """The torrent was withdrawn."""

    code = "torrent_withdrawn"
    message = "This torrent was withdrawn."


class ModerationMessageInvalid(Invalid):
    """A message is missing or too long."""

    code = "message_invalid"
    message = f"message: must have 1 to {MESSAGE_LENGTH} characters"


class ModerationThread(msgspec.Struct, frozen=True, kw_only=True):
    """A thread as its facts leave it.

    `moderator` is who made the last status change, None while nobody has.
    """

    id: UUID
    version: int
    torrent: UUID
    uploader: UUID
    status: ModerationStatus
    moderator: UUID | None = None
    closed: bool = False


def thread_id(torrent: UUID) -> UUID:
    """The id of a torrent's moderation thread."""
    return uuid5(torrent, "moderation")


def evolve(state: ModerationThread | None, envelope: Envelope) -> ModerationThread:
    """Fold one fact of a moderation thread."""
    fact = envelope.fact
    version = envelope.originator_version
    if isinstance(fact, ModerationOpened):
        return ModerationThread(
            id=envelope.originator_id,
            version=version,
            torrent=fact.torrent,
            uploader=fact.uploader,
            status=fact.status,
        )
    if state is not None and isinstance(fact, StatusFact):
        return msgspec.structs.replace(
            state, version=version, status=status_after(fact), moderator=moderator_of(fact)
        )
    if state is not None and isinstance(fact, ModerationMessagePosted):
        return msgspec.structs.replace(state, version=version)
    if state is not None and isinstance(fact, ModerationClosed):
        return msgspec.structs.replace(state, version=version, closed=True)
    raise TypeError(f"{type(fact).__name__} is no next fact of a moderation thread")


def open_moderation(*, torrent: UUID, uploader: UUID, bypass: Bypass | None) -> list[Fact]:
    """Open the thread of a new upload: accepted at once with a bypass, else pending."""
    status: ModerationStatus = "accepted" if bypass else "pending"
    return [ModerationOpened(torrent=torrent, uploader=uploader, status=status, bypass=bypass)]


def approve_torrent(
    thread: ModerationThread | None,
    *,
    moderator: UUID,
    message_id: UUID,
    message: str | None = None,
    seen: ModerationStatus | None = None,
) -> list[Fact]:
    """Accept a pending torrent, or one that was asked to change.

    `seen` is the status the moderator acted upon, None when unknown. Raises
    `TorrentAlreadyAccepted`, `TorrentIsRejected`, `ModeratedMeanwhile`, `ModerationEnded`,
    `ModerationMessageInvalid`, `ModerationThreadNotFound`.
    """
    thread = _require_open(thread)
    if thread.status == "accepted":
        raise TorrentAlreadyAccepted(moderator=thread.moderator)
    _require_not_rejected(thread)
    _require_seen(thread, seen)
    words = None if message is None or not message.strip() else _words(moderator, message)
    return [
        TorrentApproved(
            torrent=thread.torrent,
            uploader=thread.uploader,
            moderator=moderator,
            previous=thread.status,
            message_id=message_id,
            message=words,
        )
    ]


def request_torrent_changes(
    thread: ModerationThread | None,
    *,
    moderator: UUID,
    message_id: UUID,
    message: str | None,
    seen: ModerationStatus | None = None,
) -> list[Fact]:
    """Ask the uploader to change a torrent that is not rejected; refusals as in `reject_torrent`."""
    thread = _require_open(thread)
    _require_not_rejected(thread)
    _require_seen(thread, seen)
    return [
        TorrentChangesRequested(
            torrent=thread.torrent,
            uploader=thread.uploader,
            moderator=moderator,
            previous=thread.status,
            message_id=message_id,
            message=_words(moderator, message),
        )
    ]


def reject_torrent(
    thread: ModerationThread | None,
    *,
    moderator: UUID,
    message_id: UUID,
    message: str | None,
    seen: ModerationStatus | None = None,
) -> list[Fact]:
    """Reject a torrent that is not rejected yet.

    Raises `TorrentIsRejected`, `ModeratedMeanwhile`, `ModerationEnded`,
    `ModerationMessageInvalid`, `ModerationThreadNotFound`.
    """
    thread = _require_open(thread)
    _require_not_rejected(thread)
    _require_seen(thread, seen)
    return [
        TorrentRejected(
            torrent=thread.torrent,
            uploader=thread.uploader,
            moderator=moderator,
            previous=thread.status,
            message_id=message_id,
            message=_words(moderator, message),
        )
    ]


def reset_torrent(
    thread: ModerationThread | None,
    *,
    moderator: UUID,
    message_id: UUID,
    message: str | None,
    to: ResetStatus = "pending",
) -> list[Fact]:
    """Take a rejection back: the only way out of it (API reference, section Moderation).

    Raises `TorrentNotRejected`, `ModerationEnded`, `ModerationMessageInvalid`,
    `ModerationThreadNotFound`.
    """
    thread = _require_open(thread)
    if thread.status != "rejected":
        raise TorrentNotRejected(moderator=thread.moderator, status=thread.status)
    return [
        TorrentReset(
            torrent=thread.torrent,
            uploader=thread.uploader,
            moderator=moderator,
            status=to,
            message_id=message_id,
            message=_words(moderator, message),
        )
    ]


def resubmit_torrent(
    thread: ModerationThread | None, *, bypasses: bool, message_id: UUID
) -> list[Fact]:
    """Put an edited torrent back into the queue, unless its editor `bypasses` moderation.

    A rejected torrent is frozen for everybody. One that waits already goes on waiting, and its
    thread says that it was edited: so a decision and an edit never pass each other by. Raises
    `TorrentIsRejected`, `ModerationEnded`, `ModerationThreadNotFound`.
    """
    thread = _require_open(thread)
    _require_not_rejected(thread)
    if bypasses:
        return []
    return [
        TorrentResubmitted(
            torrent=thread.torrent,
            uploader=thread.uploader,
            previous=thread.status,
            message_id=message_id,
        )
    ]


def post_moderation_message(
    thread: ModerationThread | None,
    *,
    author: UUID,
    is_staff: bool,
    message_id: UUID,
    message: str | None,
) -> list[Fact]:
    """Write in the thread: its uploader or any staff member may, to others it does not exist."""
    if thread is None or not (is_staff or author == thread.uploader):
        raise ModerationThreadNotFound()
    thread = _require_open(thread)
    words = _words(author, message)
    return [
        ModerationMessagePosted(
            torrent=thread.torrent, author=author, message_id=message_id, message=words
        )
    ]


def close_moderation(thread: ModerationThread | None) -> list[Fact]:
    """End the thread of a torrent that is being withdrawn."""
    thread = _require_open(thread)
    return [ModerationClosed(torrent=thread.torrent)]


def _require_open(thread: ModerationThread | None) -> ModerationThread:
    if thread is None:
        raise ModerationThreadNotFound()
    if thread.closed:
        raise ModerationEnded()
    return thread


def _require_not_rejected(thread: ModerationThread) -> None:
    if thread.status == "rejected":
        raise TorrentIsRejected(moderator=thread.moderator)


def _require_seen(thread: ModerationThread, seen: ModerationStatus | None) -> None:
    if seen is not None and seen != thread.status:
        raise ModeratedMeanwhile(moderator=thread.moderator, status=thread.status)


def _words(author: UUID, message: str | None) -> Private:
    text = (message or "").strip()
    # A NUL fits into no database text, and a recorded fact must never stop a read model.
    if not 1 <= len(text) <= MESSAGE_LENGTH or "\0" in text:
        raise ModerationMessageInvalid()
    return Private(author, text)
