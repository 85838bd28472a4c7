"""Topics and posts of the forum: read by all who may see the site, written by members."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import AliasChoices, Field

from application.forum import (
    DeletedForumPost,
    DeleteForumPost,
    DeleteForumTopic,
    EditedForumPost,
    EditForumPost,
    ForumTopicState,
    LockForumTopic,
    PinForumTopic,
    StartedForumTopic,
    StartForumTopic,
    WriteForumPost,
    WrittenForumPost,
)
from application.markup import excerpt
from domain.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from domain.forum import POST_LENGTH, TITLE_LENGTH, ForumTopicNotFound
from interfaces.http.deps import (
    AuthorOrModerator,
    Commands,
    MaybeSignedIn,
    Moderator,
    Reads,
    Services,
    SignedIn,
)
from interfaces.http.errors import refusals
from interfaces.http.forum_replies import (
    PostReply,
    TopicLastPostReply,
    TopicReply,
    author_reply,
    post_reply,
    topic_fields,
)
from interfaces.http.models import Body, Line, Prose, Reply
from interfaces.http.paging import (
    PageNumber,
    Pagination,
    offset_of,
    pagination,
    read_cursor,
    write_cursor,
)
from interfaces.http.torrent_replies import MemberRefReply, require_open_catalogue
from projections.forum_lists import (
    EXCERPT_LENGTH,
    find_forum_topic,
    list_forum_posts,
)

router = APIRouter(tags=["Forum"])
TopicId = Annotated[UUID, Path(alias="id")]
PostId = Annotated[UUID, Path(alias="id")]
Content = Annotated[Prose, Field(min_length=1, max_length=POST_LENGTH)]
"""HTML is allowed; it is cleaned when it is shown."""


class TopicCategoryReply(Reply):
    """The category a topic is in; `name` is null where it was removed meanwhile."""

    id: UUID
    name: str | None


class TopicPageReply(TopicReply):
    """A topic and one page of its posts, oldest first."""

    category: TopicCategoryReply
    posts: list[PostReply]
    pagination: Pagination
    next_cursor: str | None


class StartForumTopicBody(Body):
    """A topic: where, its title (one line of text) and its first post."""

    category_id: UUID = Field(validation_alias=AliasChoices("categoryId", "category_id"))
    title: Line = Field(min_length=1, max_length=TITLE_LENGTH)
    content: Content


class StartForumTopicReply(TopicReply):
    """The topic as it was started."""

    first_post: PostReply


class PinForumTopicBody(Body):
    """Whether to pin; left out, it becomes the other of the two."""

    is_pinned: bool | None = Field(
        default=None, validation_alias=AliasChoices("isPinned", "is_pinned", "pinned")
    )


class LockForumTopicBody(Body):
    """Whether to lock; left out, it becomes the other of the two."""

    is_locked: bool | None = Field(
        default=None, validation_alias=AliasChoices("isLocked", "is_locked", "locked")
    )


class ForumTopicStateReply(Reply):
    """Pin and lock of the topic as they are now."""

    success: Literal[True] = True
    id: UUID
    is_pinned: bool
    is_locked: bool


class WriteForumPostBody(Body):
    """An answer: in which topic, and what."""

    topic_id: UUID = Field(validation_alias=AliasChoices("topicId", "topic_id"))
    content: Content


class EditForumPostBody(Body):
    """The new words. `revision` is that of the post that was edited.

    Where somebody else edited it meanwhile the answer is 409, saying who; without `revision` the
    last edit wins.
    """

    content: Content
    revision: int | None = Field(default=None, ge=0, le=2**31)


class EditForumPostReply(Reply):
    """The post as it is now."""

    success: Literal[True] = True
    id: UUID
    topic_id: UUID
    author_id: UUID
    content: str
    revision: int


class DeleteForumTopicReply(Reply):
    success: Literal[True] = True
    message: str = "Topic deleted"


class DeleteForumPostReply(Reply):
    """`topicDeleted` where the post was the first of its topic."""

    success: Literal[True] = True
    message: str
    topic_id: UUID
    topic_deleted: bool


@router.post("/api/forum/topics", status_code=201, responses=refusals(Invalid, NotFound))
def start_forum_topic(
    body: StartForumTopicBody, caller: SignedIn, call: Commands, services: Services
) -> StartForumTopicReply:
    """Start a topic with its first post."""
    started: StartedForumTopic = call.dispatch(
        StartForumTopic(
            topic=services.entropy.uuid(),
            post=services.entropy.uuid(),
            category=body.category_id,
            title=body.title,
            content=body.content,
        )
    )
    author = author_reply(caller)
    return StartForumTopicReply(
        id=started.id,
        category_id=started.category,
        author_id=started.author,
        author=author,
        title=started.title,
        is_pinned=False,
        is_locked=False,
        created_at=started.created_at,
        updated_at=started.created_at,
        post_count=1,
        reply_count=0,
        first_post_excerpt=excerpt(started.content, EXCERPT_LENGTH),
        last_post=TopicLastPostReply(
            id=started.first_post,
            created_at=started.created_at,
            author=MemberRefReply(id=started.author, username=started.author_name),
        ),
        first_post=PostReply(
            id=started.first_post,
            topic_id=started.id,
            author_id=started.author,
            author=author,
            content=started.content,
            is_first_post=True,
            created_at=started.created_at,
            updated_at=started.created_at,
            revision=0,
            edited_at=None,
            edited_by=None,
        ),
    )


@router.get("/api/forum/topics/{id}", responses=refusals(NotFound, Unauthenticated))
def show_forum_topic(
    topic: TopicId,
    caller: MaybeSignedIn,
    reads: Reads,
    *,
    page: PageNumber = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Posts of a page.")] = 20,
    after: Annotated[
        str | None, Query(max_length=200, description="`nextCursor` of the page before.")
    ] = None,
) -> TopicPageReply:
    """Show a topic and a page of its posts."""
    behind = int(read_cursor(after, int)[0]) if after is not None else None
    offset = 0 if after is not None else offset_of(page, limit)
    with reads.connection() as connection:
        require_open_catalogue(connection, caller)
        row = find_forum_topic(connection, topic)
        if row is None:
            raise ForumTopicNotFound()
        # One more than shown tells whether there is a next page.
        posts = list_forum_posts(
            connection, topic, limit=limit + 1, offset=offset, after=behind or 0
        )
    shown = posts[:limit]
    return TopicPageReply.model_validate(
        {
            **topic_fields(row),
            "category": TopicCategoryReply(id=row.category, name=row.category_name),
            "posts": [post_reply(each, row.first_post) for each in shown],
            "pagination": pagination(page, limit, row.posts),
            "next_cursor": write_cursor(shown[-1].position) if len(posts) > limit else None,
        }
    )


@router.delete("/api/forum/topics/{id}", responses=refusals(Forbidden, NotFound))
def delete_forum_topic(
    topic: TopicId, _caller: AuthorOrModerator, call: Commands
) -> DeleteForumTopicReply:
    """Delete a topic with all its posts: one's own, or any as a moderator."""
    call.dispatch(DeleteForumTopic(topic=topic))
    return DeleteForumTopicReply()


@router.put("/api/forum/topics/{id}/pin", responses=refusals(NotFound))
def pin_forum_topic(
    topic: TopicId, _caller: Moderator, call: Commands, body: PinForumTopicBody | None = None
) -> ForumTopicStateReply:
    """Pin a topic to the top of its category, or unpin it."""
    wanted = body.is_pinned if body else None
    return _state_reply(call.dispatch(PinForumTopic(topic=topic, pinned=wanted)))


@router.put("/api/forum/topics/{id}/lock", responses=refusals(NotFound))
def lock_forum_topic(
    topic: TopicId, _caller: Moderator, call: Commands, body: LockForumTopicBody | None = None
) -> ForumTopicStateReply:
    """Close a topic to members' answers and edits, or open it again."""
    wanted = body.is_locked if body else None
    return _state_reply(call.dispatch(LockForumTopic(topic=topic, locked=wanted)))


@router.post("/api/forum/posts", status_code=201, responses=refusals(Invalid, Forbidden, NotFound))
def write_forum_post(
    body: WriteForumPostBody, caller: SignedIn, call: Commands, services: Services
) -> PostReply:
    """Answer in a topic; in a locked one only moderators do."""
    written: WrittenForumPost = call.dispatch(
        WriteForumPost(post=services.entropy.uuid(), topic=body.topic_id, content=body.content)
    )
    return PostReply(
        id=written.id,
        topic_id=written.topic,
        author_id=written.author,
        author=author_reply(caller),
        content=written.content,
        is_first_post=False,
        created_at=written.created_at,
        updated_at=written.created_at,
        revision=0,
        edited_at=None,
        edited_by=None,
    )


@router.patch("/api/forum/posts/{id}", responses=refusals(Invalid, Forbidden, NotFound, Conflict))
def edit_forum_post(
    post: PostId, body: EditForumPostBody, _caller: AuthorOrModerator, call: Commands
) -> EditForumPostReply:
    """Change a post's words: one's own, or any as a moderator."""
    edited: EditedForumPost = call.dispatch(
        EditForumPost(post=post, content=body.content, seen=body.revision)
    )
    return EditForumPostReply(
        id=edited.id,
        topic_id=edited.topic,
        author_id=edited.author,
        content=edited.content,
        revision=edited.revision,
    )


@router.delete("/api/forum/posts/{id}", responses=refusals(Forbidden, NotFound))
def delete_forum_post(
    post: PostId, _caller: AuthorOrModerator, call: Commands
) -> DeleteForumPostReply:
    """Delete a post: one's own, or any as a moderator. The first post takes its topic along."""
    deleted: DeletedForumPost = call.dispatch(DeleteForumPost(post=post))
    return DeleteForumPostReply(
        message="Topic deleted" if deleted.topic_deleted else "Post deleted",
        topic_id=deleted.topic,
        topic_deleted=deleted.topic_deleted,
    )


def _state_reply(state: ForumTopicState) -> ForumTopicStateReply:
    return ForumTopicStateReply(id=state.id, is_pinned=state.pinned, is_locked=state.locked)
