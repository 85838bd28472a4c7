"""Categories: two levels, slugs that are claimed, ranges, and removal of unused ones."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from domain.kernel import Claim
from domain.taxonomy import (
    Category,
    CategoryCreated,
    CategoryEdited,
    CategoryInUse,
    CategoryInvalid,
    CategoryNotFound,
    CategoryRemoved,
    CategoryTooDeep,
    create_category,
    edit_category,
    evolve,
    remove_category,
    slugify,
)
from tests.kit.domain import AN_ID, folded, given, refuses_foreign_facts

PARENT = UUID(int=10)


def created(**changes: Any) -> CategoryCreated:
    fields: dict[str, Any] = {
        "name": "Movies",
        "slug": "movies",
        "parent": None,
        "newznab_id": None,
        "type": None,
        "icon": None,
        "is_adult": False,
    }
    return CategoryCreated(**(fields | changes))


MOVIES = created()
HD = created(name="HD", slug="movies-hd", parent=PARENT, newznab_id=2040, type="movie")


def category(*facts: Any, id: UUID = AN_ID) -> Category:
    state = folded(evolve, *facts, id=id)
    assert state is not None
    return state


def test_create_category_takes_a_slug_from_its_name() -> None:
    given(evolve).when(create_category, name="  Films & Séries  ").then(
        created(name="Films & Séries", slug="films-series")
    )


def test_create_category_takes_the_slug_that_is_asked_for() -> None:
    given(evolve).when(create_category, name="Movies", slug="My Films").then(
        created(slug="my-films")
    )


@pytest.mark.parametrize("slug", [None, "HD", "movies-hd"])
def test_create_category_puts_the_parents_slug_before_a_childs(slug: str | None) -> None:
    given(evolve, MOVIES, id=PARENT).when(
        create_category, name="HD", slug=slug, newznab_id=2040, type="movie"
    ).then(HD)


def test_create_category_refuses_a_third_level() -> None:
    given(evolve, HD).when(create_category, name="x").then_refused(CategoryTooDeep)


def test_create_category_refuses_a_removed_parent() -> None:
    given(evolve, MOVIES, CategoryRemoved(slug="movies")).when(
        create_category, name="x"
    ).then_refused(CategoryNotFound)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "newznab_id": 999}, "newznabId"),
        ({"name": "x", "newznab_id": 200_000}, "newznabId"),
        ({"name": "x", "icon": "i" * 51}, "icon"),
        ({"name": "x", "icon": "a\0b"}, "icon"),
        ({"name": "x", "icon": "\ud800"}, "icon"),
        ({"name": "x\udfff"}, "name"),
        ({"name": "映画"}, "slug"),
        ({"name": "\ufb03" * 100}, "slug"),
    ],
)
def test_create_category_names_the_field_that_is_wrong(asked: dict[str, Any], field: str) -> None:
    given(evolve).when(create_category, **asked).then_refused(CategoryInvalid, field=field)


@pytest.mark.parametrize("newznab_id", [1000, 9999])
def test_create_category_takes_the_ends_of_the_range(newznab_id: int) -> None:
    given(evolve).when(create_category, name="x" * 100, newznab_id=newznab_id, icon="i" * 50).then(
        created(name="x" * 100, slug="x" * 100, newznab_id=newznab_id, icon="i" * 50)
    )


def edited(**changes: Any) -> CategoryEdited:
    fields: dict[str, Any] = {
        "name": "Films",
        "slug": "films",
        "previous_slug": "movies",
        "newznab_id": 2000,
        "type": "movie",
        "icon": None,
        "is_adult": True,
    }
    return CategoryEdited(**(fields | changes))


def test_edit_category_makes_the_slug_follow_the_name() -> None:
    given(evolve, MOVIES).when(
        edit_category,
        parent=None,
        name="Films",
        newznab_id=2000,
        type="movie",
        icon=None,
        is_adult=True,
    ).then(edited())


def test_edit_category_keeps_a_child_below_its_parent() -> None:
    given(evolve, HD).when(
        edit_category,
        parent=category(MOVIES),
        name="UHD",
        newznab_id=2045,
        type="movie",
        icon="tv",
        is_adult=False,
    ).then(
        edited(
            name="UHD",
            slug="movies-uhd",
            previous_slug="movies-hd",
            newznab_id=2045,
            icon="tv",
            is_adult=False,
        )
    )


def test_edit_category_refuses_an_unknown_one() -> None:
    given(evolve).when(
        edit_category,
        parent=None,
        name="x",
        newznab_id=None,
        type=None,
        icon=None,
        is_adult=False,
    ).then_refused(CategoryNotFound)


def test_remove_category_gives_its_slug_back() -> None:
    given(evolve, MOVIES, edited()).when(remove_category, torrents=0, children=0).then(
        CategoryRemoved(slug="films")
    )


@pytest.mark.parametrize("used", [{"torrents": 1, "children": 0}, {"torrents": 0, "children": 1}])
def test_remove_category_refuses_one_in_use(used: dict[str, int]) -> None:
    given(evolve, MOVIES).when(remove_category, **used).then_refused(CategoryInUse, **used)


def test_remove_category_refuses_a_removed_one() -> None:
    given(evolve, MOVIES, CategoryRemoved(slug="movies")).when(
        remove_category, torrents=0, children=0
    ).then_refused(CategoryNotFound)


def test_slugs_are_claimed_and_released() -> None:
    movies, films = Claim("category.slug", "movies"), Claim("category.slug", "films")
    assert MOVIES.claims() == (movies,)
    assert (edited().claims(), edited().releases()) == ((films,), (movies,))
    same = edited(slug="movies")
    assert (same.claims(), same.releases()) == ((), ())
    assert CategoryRemoved(slug="movies").releases() == (movies,)


def test_the_state_says_what_the_facts_said() -> None:
    state = category(MOVIES, edited())
    assert (state.name, state.slug, state.newznab_id, state.type) == (
        "Films",
        "films",
        2000,
        "movie",
    )
    assert (state.is_adult, state.version, state.removed) == (True, 2, False)


def test_slugify_of_nothing_latin_is_empty() -> None:
    assert slugify("--!--") == ""


def test_foreign_facts_stop_the_fold() -> None:
    refuses_foreign_facts(evolve, MOVIES)
