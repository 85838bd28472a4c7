"""What moderation records: the facts of one torrent's thread, and how a silent one reads."""

from __future__ import annotations

from typing import ClassVar, Literal
from uuid import UUID

from domain.kernel import Fact, Private

ModerationStatus = Literal["pending", "accepted", "changes_requested", "rejected"]
ResetStatus = Literal["pending", "accepted", "changes_requested"]
Bypass = Literal["staff", "role", "import"]
"""Why an upload needed no moderation: its uploader is staff, a role of his says so, or it was
accepted where the community came from."""


class ModerationOpened(Fact, frozen=True):
    """The moderation thread of a new upload was opened."""

    TOPIC: ClassVar[str] = "moderation.opened.1"

    torrent: UUID
    uploader: UUID
    status: ModerationStatus
    bypass: Bypass | None


class TorrentApproved(Fact, frozen=True):
    """A moderator accepted a torrent into the catalogue."""

    TOPIC: ClassVar[str] = "torrent.approved.1"

    torrent: UUID
    uploader: UUID
    moderator: UUID
    previous: ModerationStatus
    message_id: UUID
    message: Private | None


class TorrentChangesRequested(Fact, frozen=True):
    """A moderator asked the uploader to change a torrent."""

    TOPIC: ClassVar[str] = "torrent.changes_requested.1"

    torrent: UUID
    uploader: UUID
    moderator: UUID
    previous: ModerationStatus
    message_id: UUID
    message: Private | None


class TorrentRejected(Fact, frozen=True):
    """A moderator rejected a torrent; its info hash stays taken."""

    TOPIC: ClassVar[str] = "torrent.rejected.1"

    torrent: UUID
    uploader: UUID
    moderator: UUID
    previous: ModerationStatus
    message_id: UUID
    message: Private | None


class TorrentReset(Fact, frozen=True):
    """A moderator took a rejection back."""

    TOPIC: ClassVar[str] = "torrent.reset.1"

    torrent: UUID
    uploader: UUID
    moderator: UUID
    status: ResetStatus
    message_id: UUID
    message: Private | None


class TorrentResubmitted(Fact, frozen=True):
    """The uploader edited a torrent; it waits to be looked at, again if it was decided about."""

    TOPIC: ClassVar[str] = "torrent.resubmitted.1"

    torrent: UUID
    uploader: UUID
    previous: ModerationStatus
    message_id: UUID


class ModerationMessagePosted(Fact, frozen=True):
    """The uploader or a moderator wrote in a moderation thread without changing the status."""

    TOPIC: ClassVar[str] = "moderation.message_posted.1"

    torrent: UUID
    author: UUID
    message_id: UUID
    message: Private


class ModerationClosed(Fact, frozen=True):
    """The thread ended because its torrent was withdrawn."""

    TOPIC: ClassVar[str] = "moderation.closed.1"

    torrent: UUID


FACTS: tuple[type[Fact], ...] = (
    ModerationOpened,
    TorrentApproved,
    TorrentChangesRequested,
    TorrentRejected,
    TorrentReset,
    TorrentResubmitted,
    ModerationMessagePosted,
    ModerationClosed,
)

ModeratorFact = TorrentApproved | TorrentChangesRequested | TorrentRejected | TorrentReset
"""A change of status a moderator made."""
StatusFact = ModeratorFact | TorrentResubmitted

SYSTEM_BODIES: dict[type[Fact], str] = {
    TorrentApproved: "Approved.",
    TorrentChangesRequested: "Changes requested.",
    TorrentRejected: "Rejected.",
    TorrentReset: "Returned to the queue.",
}
"""What a status change without words of its own reads as; such a message is a system message."""

RESUBMITTED_BODIES: dict[ModerationStatus, str] = {
    "pending": "Edited while waiting for review.",
    "accepted": "Edits made; returning to the moderation queue.",
    "changes_requested": "Resubmitted for review after edits.",
}
"""What an edit by the uploader reads as, by the status it found (the last two in the reference's words)."""


_LEADS_TO: dict[type[Fact], ModerationStatus] = {
    TorrentApproved: "accepted",
    TorrentChangesRequested: "changes_requested",
    TorrentRejected: "rejected",
    TorrentResubmitted: "pending",
}


def status_after(fact: StatusFact) -> ModerationStatus:
    """The status a status change leads to."""
    return fact.status if isinstance(fact, TorrentReset) else _LEADS_TO[type(fact)]


def moderator_of(fact: StatusFact) -> UUID | None:
    """Who decided; None when the uploader's own edit ended the decision."""
    return None if isinstance(fact, TorrentResubmitted) else fact.moderator


def author_of(fact: StatusFact) -> UUID:
    """Whose message the status change leaves in the thread."""
    return fact.uploader if isinstance(fact, TorrentResubmitted) else fact.moderator


def words_of(fact: StatusFact) -> Private | None:
    """What was said with the status change, None when nothing was."""
    return None if isinstance(fact, TorrentResubmitted) else fact.message


def system_body(fact: StatusFact) -> str:
    """What the status change reads as without words of its own."""
    if isinstance(fact, TorrentResubmitted):
        return RESUBMITTED_BODIES[fact.previous]
    return SYSTEM_BODIES[type(fact)]
