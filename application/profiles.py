"""Editing one's profile."""

from __future__ import annotations

import msgspec

from application.bus import Handler, Unit
from domain import profiles
from domain.profiles import Profile, ProfileChanges


class EditProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Change parts of the caller's profile."""

    changes: ProfileChanges


class EditedProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The profile as it is now, and how many of its fields became different."""

    profile: Profile
    updated: int


def handle_edit_profile(unit: Unit, command: EditProfile) -> EditedProfile:
    """Edit it. Raises `DisplayNameInvalid`, `BioInvalid`."""
    account = unit.actor.account
    aggregate = profiles.profile_id(account)
    profile = unit.load(aggregate, profiles.evolve) or Profile()
    wanted = profiles.changed_profile(profile, command.changes)
    facts = profiles.edit_profile(profile, wanted, account)
    unit.record(aggregate, profile.version, facts)
    updated = sum(
        getattr(profile, name) != getattr(wanted, name) for name in Profile.__struct_fields__
    )
    return EditedProfile(profile=wanted, updated=updated)


HANDLERS: dict[type, Handler] = {EditProfile: handle_edit_profile}
