"""The forum's structure: categories, their topics, and figures of the whole."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import AliasChoices, Field

from application.forum_categories import (
    CreateForumCategory,
    EditForumCategory,
    RemoveForumCategory,
    StandingForumCategory,
)
from domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from domain.forum_categories import (
    DESCRIPTION_LENGTH,
    ICON_LENGTH,
    LAST_PLACE,
    NAME_LENGTH,
    ForumCategoryChanges,
    ForumCategoryFields,
    ForumCategoryInvalid,
    ForumCategoryNotFound,
)
from interfaces.http.deps import Administrator, Commands, MaybeSignedIn, Reads, Services
from interfaces.http.errors import refusals
from interfaces.http.forum_replies import (
    LatestPostReply,
    TopicReply,
    latest_post_reply,
    topic_reply,
)
from interfaces.http.models import Body, Instant, Line, Prose, Reply
from interfaces.http.paging import (
    PageNumber,
    Pagination,
    offset_of,
    pagination,
    read_cursor,
    write_cursor,
)
from interfaces.http.torrent_replies import MemberRefReply, require_open_catalogue
from projections import forum_lists
from projections.forum_lists import (
    ForumCategoryRow,
    ForumTopicRow,
    find_forum_category,
    list_forum_topics,
    list_latest_posts,
    read_forum_totals,
)

router = APIRouter(tags=["Forum"])
CategoryId = Annotated[UUID, Path(alias="id")]


class ForumCategoryReply(Reply):
    """A category of the forum; they are shown in rising `order`."""

    id: UUID
    name: str
    description: str | None
    icon: str | None
    color: str | None
    order: int
    created_at: Instant


class LastTopicReply(Reply):
    """The newest topic of a category. `title` is null once its words were destroyed."""

    id: UUID
    title: str | None
    created_at: Instant
    author: MemberRefReply


class LastPostReply(Reply):
    """The last post of a category; the author is null for a moment while it is being read in."""

    id: UUID
    topic_id: UUID
    topic_title: str | None
    created_at: Instant
    author: MemberRefReply | None


class ForumStructureReply(ForumCategoryReply):
    """A category with what is in it. `postCount` counts first posts and answers."""

    topic_count: int
    post_count: int
    last_topic: LastTopicReply | None
    last_post: LastPostReply | None


class ForumCategoryPageReply(ForumStructureReply):
    """A category and one page of its topics: pinned ones first, each part by its last post."""

    topics: list[TopicReply]
    pagination: Pagination
    next_cursor: str | None


class ForumTotalsReply(Reply):
    """How many there are; contributors are members with a post that stands."""

    categories: int
    topics: int
    posts: int
    contributors: int


class ForumStatsReply(Reply):
    """Figures of the whole forum, and its last five posts."""

    totals: ForumTotalsReply
    latest: list[LatestPostReply]


_ORDER = AliasChoices("order", "place", "position")


class CreateForumCategoryBody(Body):
    """A new category; a colour is like #336699."""

    name: Line = Field(min_length=1, max_length=NAME_LENGTH)
    description: Annotated[Prose, Field(max_length=DESCRIPTION_LENGTH)] | None = None
    icon: Annotated[Line, Field(max_length=ICON_LENGTH)] | None = None
    color: Annotated[Line, Field(max_length=7)] | None = None
    order: int = Field(default=0, ge=0, le=LAST_PLACE, validation_alias=_ORDER)


class EditForumCategoryBody(Body):
    """What to change; a field that is left out stays."""

    name: Annotated[Line, Field(min_length=1, max_length=NAME_LENGTH)] | None = None
    description: Annotated[Prose, Field(max_length=DESCRIPTION_LENGTH)] | None = None
    icon: Annotated[Line, Field(max_length=ICON_LENGTH)] | None = None
    color: Annotated[Line, Field(max_length=7)] | None = None
    order: int | None = Field(default=None, ge=0, le=LAST_PLACE, validation_alias=_ORDER)

    def changes(self) -> ForumCategoryChanges:
        """What was sent. Raises `ForumCategoryInvalid` for null where a value must stay."""
        sent: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        for field in ("name", "order"):
            if field in sent and sent[field] is None:
                raise ForumCategoryInvalid(f"{field}: must not be null", field=field)
        if "order" in sent:
            sent["place"] = sent.pop("order")
        return ForumCategoryChanges(**sent)


class RemoveForumCategoryReply(Reply):
    success: Literal[True] = True


@router.get("/api/forum/categories", responses=refusals(Unauthenticated))
def list_forum_categories(caller: MaybeSignedIn, reads: Reads) -> list[ForumStructureReply]:
    """List the categories in their order, each with its counts, newest topic and last post."""
    with reads.connection() as connection:
        require_open_catalogue(connection, caller)
        rows = forum_lists.list_forum_categories(connection)
    return [ForumStructureReply.model_validate(_structure(row)) for row in rows]


@router.get("/api/forum/categories/{id}", responses=refusals(NotFound, Unauthenticated))
def show_forum_category(
    category: CategoryId,
    caller: MaybeSignedIn,
    reads: Reads,
    *,
    page: PageNumber = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Topics of a page.")] = 20,
    after: Annotated[
        str | None, Query(max_length=200, description="`nextCursor` of the page before.")
    ] = None,
) -> ForumCategoryPageReply:
    """Show a category and a page of its topics."""
    place = _place(after) if after is not None else None
    offset = 0 if place else offset_of(page, limit)
    with reads.connection() as connection:
        require_open_catalogue(connection, caller)
        row = find_forum_category(connection, category)
        if row is None:
            raise ForumCategoryNotFound()
        # One more than shown tells whether there is a next page.
        rows = list_forum_topics(connection, category, limit=limit + 1, offset=offset, after=place)
    shown = rows[:limit]
    return ForumCategoryPageReply.model_validate(
        {
            **_structure(row),
            "topics": [topic_reply(each) for each in shown],
            "pagination": pagination(page, limit, row.topics),
            "next_cursor": _cursor(shown[-1]) if len(rows) > limit else None,
        }
    )


@router.post("/api/forum/categories", status_code=201, responses=refusals(Invalid))
def create_forum_category(
    body: CreateForumCategoryBody, _caller: Administrator, call: Commands, services: Services
) -> ForumCategoryReply:
    """Create a category of the forum."""
    fields = ForumCategoryFields(
        name=body.name,
        description=body.description,
        icon=body.icon,
        color=body.color,
        place=body.order,
    )
    command = CreateForumCategory(category=services.entropy.uuid(), fields=fields)
    return _category_reply(call.dispatch(command))


@router.put("/api/forum/categories/{id}", responses=refusals(Invalid, NotFound))
def edit_forum_category(
    category: CategoryId, body: EditForumCategoryBody, _caller: Administrator, call: Commands
) -> ForumCategoryReply:
    """Change a category; fields that are left out stay."""
    return _category_reply(
        call.dispatch(EditForumCategory(category=category, changes=body.changes()))
    )


@router.delete("/api/forum/categories/{id}", responses=refusals(NotFound, Conflict, Unavailable))
def remove_forum_category(
    category: CategoryId, _caller: Administrator, reads: Reads, call: Commands, services: Services
) -> RemoveForumCategoryReply:
    """Remove a category in which there is no topic."""
    # Whatever is committed counts, also what another process has not folded yet.
    services.freshness.require(services.log.head())
    with reads.connection() as connection:
        row = find_forum_category(connection, category)
    call.dispatch(RemoveForumCategory(category=category, topics=row.topics if row else 0))
    return RemoveForumCategoryReply()


@router.get("/api/forum/stats", responses=refusals(Forbidden, Unauthenticated))
def show_forum_stats(caller: MaybeSignedIn, reads: Reads) -> ForumStatsReply:
    """Show how large the forum is, and its last posts."""
    with reads.connection() as connection:
        require_open_catalogue(connection, caller)
        totals = read_forum_totals(connection)
        latest = list_latest_posts(connection, limit=5)
    return ForumStatsReply(
        totals=ForumTotalsReply(
            categories=totals.categories,
            topics=totals.topics,
            posts=totals.posts,
            contributors=totals.contributors,
        ),
        latest=[latest_post_reply(row) for row in latest],
    )


def _category_reply(category: StandingForumCategory) -> ForumCategoryReply:
    return ForumCategoryReply(
        id=category.id,
        name=category.fields.name,
        description=category.fields.description,
        icon=category.fields.icon,
        color=category.fields.color,
        order=category.fields.place,
        created_at=category.created_at,
    )


def _structure(row: ForumCategoryRow) -> dict[str, object]:
    """Fields of `ForumStructureReply`."""
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "icon": row.icon,
        "color": row.color,
        "order": row.place,
        "created_at": row.created_at,
        "topic_count": row.topics,
        "post_count": row.posts,
        "last_topic": _last_topic(row),
        "last_post": _last_post(row),
    }


def _last_topic(row: ForumCategoryRow) -> LastTopicReply | None:
    if row.newest is None or row.newest_author is None or row.newest_at is None:
        return None
    return LastTopicReply(
        id=row.newest,
        title=row.newest_title,
        created_at=row.newest_at,
        author=MemberRefReply(id=row.newest_author, username=row.newest_author_name),
    )


def _last_post(row: ForumCategoryRow) -> LastPostReply | None:
    if row.last_post is None or row.last_topic is None or row.last_at is None:
        return None
    author = row.last_author
    return LastPostReply(
        id=row.last_post,
        topic_id=row.last_topic,
        topic_title=row.last_title,
        created_at=row.last_at,
        author=MemberRefReply(id=author, username=row.last_author_name) if author else None,
    )


def _cursor(row: ForumTopicRow) -> str:
    return write_cursor(int(row.pinned), row.last)


def _place(cursor: str) -> tuple[bool, int]:
    pinned, last = read_cursor(cursor, int, int)
    return bool(pinned), int(last)
