"""Comments: posted as written, deleted by their author or by staff."""

from __future__ import annotations

from uuid import UUID

import pytest

from domain import comments
from domain.comments import CommentDeleted, CommentPosted
from domain.kernel import Private
from tests.kit.domain import folded, given, refuses_foreign_facts

TORRENT, ANNA, BERT = UUID(int=10), UUID(int=11), UUID(int=12)
POSTED = CommentPosted(torrent=TORRENT, author=ANNA, content=Private(ANNA, "Thanks!"))


def deleted_by(actor: UUID) -> CommentDeleted:
    return CommentDeleted(torrent=TORRENT, author=ANNA, deleted_by=actor)


def test_post_comment_keeps_the_words_trimmed_and_else_as_written() -> None:
    facts = comments.post_comment(torrent=TORRENT, author=ANNA, content=" <b>1 < 2</b>\n🙂 ")
    assert facts == [
        CommentPosted(torrent=TORRENT, author=ANNA, content=Private(ANNA, "<b>1 < 2</b>\n🙂"))
    ]


@pytest.mark.parametrize("content", ["", " \n\t ", "x" * 5001, "a\0b", "a\ud800b", "\udfff"])
def test_post_comment_refuses_what_is_no_text_or_too_long(content: str) -> None:
    with pytest.raises(comments.CommentInvalid):
        comments.post_comment(torrent=TORRENT, author=ANNA, content=content)


@pytest.mark.parametrize("content", ["x", "x" * 5000, "🙂" * 5000])
def test_post_comment_takes_1_to_5000_characters(content: str) -> None:
    (fact,) = comments.post_comment(torrent=TORRENT, author=ANNA, content=content)
    assert isinstance(fact, CommentPosted)
    assert fact.content.text == content


def test_delete_comment_is_for_its_author_and_staff_once() -> None:
    stands = given(comments.evolve, POSTED)
    stands.when(comments.delete_comment, actor=ANNA, is_staff=False).then(deleted_by(ANNA))
    stands.when(comments.delete_comment, actor=BERT, is_staff=True).then(deleted_by(BERT))
    stands.when(comments.delete_comment, actor=BERT, is_staff=False).then_refused(
        comments.CommentNotYours
    )
    gone = given(comments.evolve, POSTED, deleted_by(BERT))
    for is_staff in (False, True):
        gone.when(comments.delete_comment, actor=ANNA, is_staff=is_staff).then_refused(
            comments.CommentNotFound
        )
    given(comments.evolve).when(comments.delete_comment, actor=ANNA, is_staff=True).then_refused(
        comments.CommentNotFound
    )


def test_a_comment_refuses_foreign_facts() -> None:
    refuses_foreign_facts(comments.evolve, POSTED)
    with pytest.raises(TypeError):
        folded(comments.evolve, deleted_by(ANNA))
    with pytest.raises(TypeError):
        folded(comments.evolve, POSTED, POSTED)
