"""The catalogue as one caller may see it."""

from __future__ import annotations

from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import Depends, Request
from psycopg import Connection

from application.bus import Actor
from domain.errors import Unauthenticated
from interfaces.http.models import Reply
from projections.catalogue_views import CatalogueView, CategoryTrees, read_view


class GatedCategoryReply(Reply):
    """The category that keeps a torrent's page shut."""

    id: UUID
    name: str
    slug: str


class GatedTorrentReply(Reply):
    """Instead of what belongs to a torrent with adult content, for who did not ask for such."""

    gated_adult: Literal[True] = True
    info_hash: str
    category: GatedCategoryReply


async def _trees_of(request: Request) -> CategoryTrees:
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


def gate(view: CatalogueView, *, info_hash: str, category: UUID | None) -> GatedTorrentReply | None:
    """What to answer in place of a torrent's own, where the viewer did not ask for adult content."""
    if view.shows_adult or category not in view.categories.adult:
        return None
    row = view.categories.by_id[category]
    return GatedTorrentReply(
        info_hash=info_hash, category=GatedCategoryReply(id=row.id, name=row.name, slug=row.slug)
    )
