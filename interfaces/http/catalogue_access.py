"""The catalogue as one caller may see it."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request
from psycopg import Connection

from application.bus import Actor
from domain.errors import Unauthenticated
from projections.catalogue_views import CatalogueView, CategoryTrees, read_view


def _trees_of(request: Request) -> CategoryTrees:
    state = request.app.state
    if not hasattr(state, "category_trees"):
        state.category_trees = CategoryTrees()
    return cast("CategoryTrees", state.category_trees)


Trees = Annotated[CategoryTrees, Depends(_trees_of)]


def open_view(conn: Connection, trees: CategoryTrees, caller: Actor | None) -> CatalogueView:
    """The catalogue as the caller sees it. Raises `Unauthenticated` where it is for members."""
    view = read_view(conn, trees, caller.account if caller else None)
    if view.members_only and caller is None:
        raise Unauthenticated()
    return view
