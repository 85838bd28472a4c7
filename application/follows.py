"""Following other members."""

from __future__ import annotations

from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from domain import follows, users
from domain.follows import Follow


class FollowMember(msgspec.Struct, frozen=True, kw_only=True):
    """Make the caller follow a member."""

    member: UUID


class UnfollowMember(msgspec.Struct, frozen=True, kw_only=True):
    """Make the caller follow a member no longer."""

    member: UUID


def handle_follow_member(unit: Unit, command: FollowMember) -> None:
    """Follow him. Raises `OwnFollow`, `AccountNotFound`."""
    follower = unit.actor.account
    follow_id = follows.follow_id(follower, command.member)
    follow = unit.load(follow_id, follows.evolve) or Follow()
    facts = follows.follow_member(follow, follower, command.member)
    if facts and unit.find(command.member, users.evolve) is None:
        raise users.AccountNotFound()
    unit.record(follow_id, follow.version, facts)


def handle_unfollow_member(unit: Unit, command: UnfollowMember) -> None:
    """Follow him no longer; a member never followed, or unknown, stays so."""
    follower = unit.actor.account
    follow_id = follows.follow_id(follower, command.member)
    follow = unit.load(follow_id, follows.evolve) or Follow()
    unit.record(
        follow_id, follow.version, follows.unfollow_member(follow, follower, command.member)
    )


HANDLERS: dict[type, Handler] = {
    FollowMember: handle_follow_member,
    UnfollowMember: handle_unfollow_member,
}
