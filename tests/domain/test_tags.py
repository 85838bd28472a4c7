"""Tags: what administrators may do to them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.tags import (
    Tag,
    TagCreated,
    TagExists,
    TagInvalid,
    TagRemoved,
    create_tag,
    evolve,
    remove_tag,
    tag_id,
)
from tests.kit.domain import A_TIME, folded, given, refuses_foreign_facts

CREATED = TagCreated(slug="epic-poetry", name="Épic Poetry", color="#aabbcc")
REMOVED = TagRemoved(slug="epic-poetry", name="Épic Poetry")


def test_create_tag_takes_its_slug_from_its_name() -> None:
    made = create_tag(Tag(), name=" Épic Poetry ", slug="epic-poetry", color="#AABBCC")
    assert made == [CREATED]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 31}, "name"),
        ({"name": "映画"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"slug": "verse"}, "slug"),
        ({"color": "red"}, "color"),
        ({"color": "#12345g"}, "color"),
    ],
)
def test_create_tag_names_the_field_that_is_wrong(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(TagInvalid) as refused:
        create_tag(Tag(), **{"name": "Poetry", "slug": None, "color": None, **asked})
    assert refused.value.data["field"] == field


def test_a_tag_is_created_once_and_again_after_its_removal() -> None:
    ask: dict[str, Any] = {"name": "Épic Poetry", "slug": None, "color": "#aabbcc"}
    given(evolve, CREATED).when(create_tag, **ask).then_refused(TagExists)
    given(evolve, CREATED, REMOVED).when(create_tag, **ask).then(CREATED)
    given(evolve, REMOVED).when(create_tag, **ask).then(CREATED)


def test_a_removal_is_remembered_with_its_time() -> None:
    assert remove_tag(slug="epic-poetry", name="Épic Poetry") == [REMOVED]
    assert folded(evolve, CREATED, REMOVED, CREATED) == Tag(
        version=3, exists=True, removed_at=A_TIME
    )
    assert folded(evolve, REMOVED) == Tag(version=1, removed_at=A_TIME)


def test_a_removal_takes_it_from_what_bore_it_by_then() -> None:
    removed = Tag(version=1, removed_at=A_TIME)
    assert not removed.stays_on(A_TIME - timedelta(microseconds=1))
    assert not removed.stays_on(A_TIME), "a tie counts as removed"
    assert removed.stays_on(A_TIME + timedelta(microseconds=1))
    assert Tag(version=1, exists=True).stays_on(A_TIME)


def test_a_tag_is_found_by_its_slug_alone() -> None:
    assert tag_id("poetry") == tag_id("poetry") != tag_id("prose")


def test_foreign_facts_stop_the_fold() -> None:
    refuses_foreign_facts(evolve, CREATED)
