"""Profiles: what a member says of himself, and how pages should treat him."""

from __future__ import annotations

from typing import ClassVar, Final, Literal
from uuid import UUID, uuid5

import msgspec
from msgspec import UNSET, UnsetType

from domain.errors import Invalid
from domain.kernel import Envelope, Fact, Private
from domain.texts import is_storable

DISPLAY_NAME_LENGTH: Final = 32
BIO_LENGTH: Final = 1000
"""Characters (behaviour of the reference)."""
Theme = Literal["light", "dark"]
Language = Literal["en", "fr"]
_PROFILES: Final = UUID("8c0c5a52-7f3e-5b0e-9d57-2a1f4b6f3d10")
_JOINER: Final = "\u200d"
"""Joins several emoji into one; the only invisible character a name may have."""


class ProfileEdited(Fact, frozen=True):
    """A member edited his profile, which is all as it stands here from now on."""

    TOPIC: ClassVar[str] = "profile.edited.1"

    account: UUID
    display_name: Private | None
    bio: Private | None
    show_last_seen: bool
    show_adult_content: bool
    theme: Theme
    language: Language


FACTS: tuple[type[Fact], ...] = (ProfileEdited,)


class DisplayNameInvalid(Invalid):
    """The name is too long, or has characters that can't be seen."""

    code = "display_name_invalid"
    message = f"displayName: must be at most {DISPLAY_NAME_LENGTH} visible characters"


class BioInvalid(Invalid):
    """The text is too long, or holds what is no text."""

    code = "bio_invalid"
    message = f"bio: must be at most {BIO_LENGTH} characters"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile; the defaults are that of a member who never edited his."""

    version: int = 0
    display_name: str | None = None
    bio: str | None = None
    show_last_seen: bool = True
    show_adult_content: bool = False
    theme: Theme = "dark"
    language: Language = "en"


class ProfileChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to change; a field that is not set stays."""

    display_name: str | UnsetType | None = UNSET
    bio: str | UnsetType | None = UNSET
    show_last_seen: bool | UnsetType = UNSET
    show_adult_content: bool | UnsetType = UNSET
    theme: Theme | UnsetType = UNSET
    language: Language | UnsetType = UNSET


def profile_id(account: UUID) -> UUID:
    """The aggregate that holds the profile of `account`."""
    return uuid5(_PROFILES, account.hex)


def evolve(state: Profile | None, envelope: Envelope) -> Profile:
    """The profile after one more fact."""
    match envelope.fact, state:
        case ProfileEdited() as fact, _:
            return Profile(
                version=envelope.originator_version,
                display_name=_text(fact.display_name),
                bio=_text(fact.bio),
                show_last_seen=fact.show_last_seen,
                show_adult_content=fact.show_adult_content,
                theme=fact.theme,
                language=fact.language,
            )
        case unknown, _:
            raise TypeError(f"not a fact of a profile: {type(unknown).__name__}")


def changed_profile(profile: Profile, changes: ProfileChanges) -> Profile:
    """`profile` with `changes`; a blank text is none.

    Raises `DisplayNameInvalid`, `BioInvalid`.
    """
    wanted = {
        name: value
        for name in changes.__struct_fields__
        if (value := getattr(changes, name)) is not UNSET
    }
    after = msgspec.structs.replace(profile, **wanted)
    return msgspec.structs.replace(
        after, display_name=_display_name(after.display_name), bio=_bio(after.bio)
    )


def edit_profile(profile: Profile, wanted: Profile, account: UUID) -> list[Fact]:
    """Make it as `wanted`; nothing when it is so already."""
    if wanted == profile:
        return []
    return [
        ProfileEdited(
            account=account,
            display_name=_private(account, wanted.display_name),
            bio=_private(account, wanted.bio),
            show_last_seen=wanted.show_last_seen,
            show_adult_content=wanted.show_adult_content,
            theme=wanted.theme,
            language=wanted.language,
        )
    ]


def _text(private: Private | None) -> str | None:
    return private.text if private else None


def _private(account: UUID, text: str | None) -> Private | None:
    return Private(account, text) if text is not None else None


def _display_name(text: str | None) -> str | None:
    name = (text or "").strip()
    # Direction marks and the like would let one member look like another.
    seen = all(each.isprintable() or each == _JOINER for each in name)
    if len(name) > DISPLAY_NAME_LENGTH or not seen or set(name) == {_JOINER}:
        raise DisplayNameInvalid()
    return name or None


def _bio(text: str | None) -> str | None:
    words = (text or "").strip()
    if len(words) > BIO_LENGTH or not is_storable(words):
        raise BioInvalid()
    return words or None
