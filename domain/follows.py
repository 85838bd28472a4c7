"""Follows: one member subscribing to another."""

from __future__ import annotations

from typing import ClassVar, Final
from uuid import UUID, uuid5

import msgspec

from domain.errors import Invalid
from domain.kernel import Envelope, Fact

_FOLLOWS: Final = UUID("3a0d6a3e-1c54-5f0f-8f43-7d9c1be5a6f2")


class MemberFollowed(Fact, frozen=True):
    """A member began to follow another."""

    TOPIC: ClassVar[str] = "member.followed.1"

    follower: UUID
    member: UUID


class MemberUnfollowed(Fact, frozen=True):
    """A member follows another no longer."""

    TOPIC: ClassVar[str] = "member.unfollowed.1"

    follower: UUID
    member: UUID


FACTS: tuple[type[Fact], ...] = (MemberFollowed, MemberUnfollowed)


class OwnFollow(Invalid):
    """Nobody follows himself."""

    code = "own_follow"
    message = "You can't follow yourself"


class Follow(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one member follows another."""

    version: int = 0
    following: bool = False


def follow_id(follower: UUID, member: UUID) -> UUID:
    """The aggregate that says whether `follower` follows `member`."""
    return uuid5(_FOLLOWS, follower.hex + member.hex)


def evolve(state: Follow | None, envelope: Envelope) -> Follow:
    """The follow after one more fact."""
    match envelope.fact, state:
        case MemberFollowed(), _:
            return Follow(version=envelope.originator_version, following=True)
        case MemberUnfollowed(), Follow():
            return Follow(version=envelope.originator_version, following=False)
        case unknown, _:
            raise TypeError(f"not a fact of a follow here: {type(unknown).__name__}")


def follow_member(follow: Follow, follower: UUID, member: UUID) -> list[Fact]:
    """Begin to follow; nothing when he does so already. Raises `OwnFollow`."""
    if follower == member:
        raise OwnFollow()
    return [] if follow.following else [MemberFollowed(follower=follower, member=member)]


def unfollow_member(follow: Follow, follower: UUID, member: UUID) -> list[Fact]:
    """Follow no longer; nothing when he did not follow."""
    return [MemberUnfollowed(follower=follower, member=member)] if follow.following else []
