"""The signed-in member's own profile."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from application.profiles import EditedProfile, EditProfile
from domain.profiles import BIO_LENGTH, DISPLAY_NAME_LENGTH, Language, ProfileChanges, Theme
from domain.users import AccountNotFound
from interfaces.http.deps import Commands, CurrentSignIn, Reads, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Instant, Line, Prose, Reply, StrictBody
from interfaces.http.role_badges import RoleReply, role_replies
from projections.account_roles import list_account_roles
from projections.member_figures import find_member_figures, find_transfer
from projections.profiles import find_profile
from projections.users import find_account

router = APIRouter(tags=["Profile"])


class ProfileCounts(Reply):
    """Uploads by this member, torrents he seeded, those he seeds now, and hit-and-runs."""

    uploads: int
    seeds: int
    active_seeds: int
    hnr: int = 0


class ProfileReply(Reply):
    """The member's profile. Sizes are bytes, times seconds; a `ratio` of null is infinite.

    Fields with a value of their own here have no facts behind them yet: it is what an account
    has that never used the feature.
    """

    id: UUID
    username: str
    display_name: str | None
    bio: str | None
    is_admin: bool
    is_moderator: bool
    is_banned: bool = False
    permissions: list[str]
    roles: list[RoleReply]
    uploaded: int
    bonus_uploaded: int
    downloaded: int
    ratio: float | None
    seed_time: int
    snatches: int
    invites_remaining: int
    bonus_points: int = 0
    last_ip: str | None
    show_last_seen: bool
    show_adult_content: bool
    theme: str
    language: str
    created_at: Instant
    last_seen: Instant
    counts: ProfileCounts


class EditProfileBody(StrictBody):
    """What to change; a field left out stays. null takes a text away."""

    display_name: Annotated[Line | None, Field(max_length=DISPLAY_NAME_LENGTH)] = None
    bio: Annotated[Prose | None, Field(max_length=BIO_LENGTH)] = None
    show_last_seen: bool = True
    show_adult_content: bool = False
    theme: Theme = "dark"
    language: Language = "en"


class EditProfileReply(Reply):
    """The fields that can be edited, as they are now; `updated` counts those that changed."""

    success: bool = True
    updated: int
    display_name: str | None
    bio: str | None
    show_last_seen: bool
    show_adult_content: bool
    theme: str
    language: str


@router.get("/api/me", responses=refusals(AccountNotFound))
def show_profile(
    caller: SignedIn, sign_in: CurrentSignIn, reads: Reads, services: Services
) -> ProfileReply:
    """Show the member's whole profile: figures, roles, preferences."""
    with reads.connection() as connection:
        account = find_account(connection, caller.account)
        if account is None or sign_in is None:
            raise AccountNotFound()
        profile = find_profile(connection, account.id)
        roles = list_account_roles(connection, account.id)
        transfer = find_transfer(connection, account.id)
        figures = find_member_figures(connection, account.id)
    seen = services.presence.last(account.id)
    return ProfileReply(
        id=account.id,
        username=account.username,
        display_name=profile.display_name,
        bio=profile.bio,
        is_admin=account.is_admin,
        is_moderator=account.is_moderator,
        permissions=sorted(caller.permissions),
        roles=role_replies(roles),
        uploaded=transfer.uploaded,
        bonus_uploaded=account.starter_upload,
        downloaded=transfer.downloaded,
        ratio=transfer.ratio,
        seed_time=figures.seed_seconds,
        snatches=figures.snatches,
        invites_remaining=account.invites,
        last_ip=seen.address if seen else None,
        show_last_seen=profile.show_last_seen,
        show_adult_content=profile.show_adult_content,
        theme=profile.theme,
        language=profile.language,
        created_at=account.created_at,
        last_seen=max(seen.at, account.created_at) if seen else sign_in.seen_at,
        counts=ProfileCounts(
            uploads=account.uploads, seeds=figures.seeds, active_seeds=figures.active_seeds
        ),
    )


@router.patch("/api/me")
def edit_profile(body: EditProfileBody, _caller: SignedIn, call: Commands) -> EditProfileReply:
    """Change display name, bio, privacy, theme or language."""
    sent = {name: getattr(body, name) for name in body.model_fields_set}
    edited: EditedProfile = call.dispatch(EditProfile(changes=ProfileChanges(**sent)))
    profile = edited.profile
    return EditProfileReply(
        updated=edited.updated,
        display_name=profile.display_name,
        bio=profile.bio,
        show_last_seen=profile.show_last_seen,
        show_adult_content=profile.show_adult_content,
        theme=profile.theme,
        language=profile.language,
    )
