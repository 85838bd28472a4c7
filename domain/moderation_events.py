"""What moderation records: the facts of one torrent's thread, and how a silent one reads."""

from __future__ import annotations

from typing import ClassVar, Literal
from uuid import UUID

from domain.kernel import Fact, Private

ModerationStatus = Literal["pending", "accepted", "changes_requested", "rejected"]
ResetStatus = Literal["pending", "accepted", "changes_requested"]
Bypass = Literal["staff", "role"]
"""Why an upload needed no moderation: its uploader is staff, or a role of his says so."""


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
    ModerationMessagePosted,
    ModerationClosed,
)

StatusFact = TorrentApproved | TorrentChangesRequested | TorrentRejected | TorrentReset

SYSTEM_BODIES: dict[type[Fact], str] = {
    TorrentApproved: "Approved.",
    TorrentChangesRequested: "Changes requested.",
    TorrentRejected: "Rejected.",
    TorrentReset: "Returned to the queue.",
}
"""What a status change without words of its own reads as; such a message is a system message."""


_LEADS_TO: dict[type[Fact], ModerationStatus] = {
    TorrentApproved: "accepted",
    TorrentChangesRequested: "changes_requested",
    TorrentRejected: "rejected",
}


def status_after(fact: StatusFact) -> ModerationStatus:
    """The status a status change leads to."""
    return fact.status if isinstance(fact, TorrentReset) else _LEADS_TO[type(fact)]
