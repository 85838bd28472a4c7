"""Follows: begun, ended, begun again."""

from __future__ import annotations

from uuid import UUID

import pytest

from domain import follows
from domain.follows import Follow, MemberFollowed, MemberUnfollowed
from tests.kit.domain import folded, refuses_foreign_facts

ANNA, BERT = UUID(int=1), UUID(int=2)
FOLLOWED = MemberFollowed(follower=ANNA, member=BERT)
UNFOLLOWED = MemberUnfollowed(follower=ANNA, member=BERT)


def test_follow_member_and_unfollow_member_record_only_what_changes() -> None:
    assert follows.follow_member(Follow(), ANNA, BERT) == [FOLLOWED]
    assert follows.unfollow_member(Follow(), ANNA, BERT) == []
    following = folded(follows.evolve, FOLLOWED)
    assert following is not None
    assert follows.follow_member(following, ANNA, BERT) == []
    assert follows.unfollow_member(following, ANNA, BERT) == [UNFOLLOWED]
    ended = folded(follows.evolve, FOLLOWED, UNFOLLOWED)
    assert ended == Follow(version=2, following=False)
    assert follows.follow_member(ended, ANNA, BERT) == [FOLLOWED]


def test_follow_member_refuses_oneself() -> None:
    with pytest.raises(follows.OwnFollow):
        follows.follow_member(Follow(), ANNA, ANNA)


def test_a_follow_has_a_direction() -> None:
    assert follows.follow_id(ANNA, BERT) != follows.follow_id(BERT, ANNA)


def test_a_follow_refuses_foreign_facts() -> None:
    refuses_foreign_facts(follows.evolve, FOLLOWED)
    with pytest.raises(TypeError):
        folded(follows.evolve, UNFOLLOWED)
