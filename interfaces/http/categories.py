"""The category tree: read by everybody, changed by administrators."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi import APIRouter
from pydantic import AliasChoices, Field

from application.taxonomy import (
    CategoryCreated,
    CreateCategory,
    EditCategory,
    RemoveCategory,
    SeedCategories,
)
from domain.errors import Conflict, NotFound, Unavailable
from domain.taxonomy import Category, CategoryType
from interfaces.http.deps import Administrator, Commands, Reads, Services
from interfaces.http.errors import refusals
from interfaces.http.models import Body, Instant, Line, Reply
from projections import taxonomy
from projections.taxonomy import CategoryRow

router = APIRouter(tags=["Categories & tags"])


class CategoryReply(Reply):
    """A category; `newznabId` is its number in the feeds for *Arr programs."""

    id: UUID
    name: str
    slug: str
    parent_id: UUID | None
    newznab_id: int | None
    type: str | None
    icon: str | None
    is_adult: bool
    created_at: Instant


class CategoryTreeReply(CategoryReply):
    """A category of the first level with those below it."""

    subcategories: list[CategoryReply]


class CreateCategoryBody(Body):
    """A new category; without `slug` it is made from the name."""

    name: Line = Field(min_length=1, max_length=100)
    slug: Line | None = Field(default=None, max_length=100)
    parent_id: UUID | None = Field(
        default=None, validation_alias=AliasChoices("parentId", "parent_id", "parent")
    )
    newznab_id: int | None = Field(default=None, ge=0, le=1_000_000)
    type: CategoryType | None = None
    icon: Line | None = None
    is_adult: bool = False


class EditCategoryBody(Body):
    """A category's new name, which its slug follows; what else is not sent stays."""

    name: Line = Field(min_length=1, max_length=100)
    newznab_id: int | None = Field(default=None, ge=0, le=1_000_000)
    type: CategoryType | None = None
    icon: Line | None = None
    is_adult: bool = False


class EditedCategoryReply(Reply):
    """The category as it is now."""

    id: UUID
    name: str
    slug: str
    parent_id: UUID | None
    newznab_id: int | None
    type: str | None
    icon: str | None
    is_adult: bool


class CategoryRemovedReply(Reply):
    """The category is gone."""

    success: bool = True


class CategoriesSeededReply(Reply):
    """How many categories of the default tree were missing; they are there now."""

    success: bool = True
    created: int


@router.get("/api/categories")
def list_categories(reads: Reads) -> list[CategoryTreeReply]:
    """List the categories of the first level by name, each with those below it."""
    with reads.connection() as connection:
        rows = taxonomy.list_categories(connection)
    return category_tree(rows)


def category_tree(rows: Sequence[CategoryRow]) -> list[CategoryTreeReply]:
    """Rows in order of their names as a tree of two levels."""
    below: dict[UUID, list[CategoryReply]] = {}
    for row in rows:
        if row.parent is not None:
            below.setdefault(row.parent, []).append(CategoryReply.model_validate(_fields(row)))
    return [
        CategoryTreeReply.model_validate({**_fields(row), "subcategories": below.get(row.id, [])})
        for row in rows
        if row.parent is None
    ]


@router.post("/api/admin/categories", status_code=201, responses=refusals(NotFound, Conflict))
def create_category(
    body: CreateCategoryBody, _caller: Administrator, call: Commands, services: Services
) -> CategoryReply:
    """Create a category. A child's slug begins with that of its parent."""
    created: CategoryCreated = call.dispatch(
        CreateCategory(
            category=services.entropy.uuid(),
            name=body.name,
            slug=body.slug,
            parent=body.parent_id,
            newznab_id=body.newznab_id,
            type=body.type,
            icon=body.icon,
            is_adult=body.is_adult,
        )
    )
    return CategoryReply(
        id=created.id,
        name=created.name,
        slug=created.slug,
        parent_id=created.parent,
        newznab_id=created.newznab_id,
        type=created.type,
        icon=created.icon,
        is_adult=created.is_adult,
        created_at=created.created_at,
    )


@router.put("/api/admin/categories/{id}", responses=refusals(NotFound, Conflict))
def edit_category(
    id: UUID, body: EditCategoryBody, _caller: Administrator, call: Commands
) -> EditedCategoryReply:
    """Edit a category. Slugs of those below it stay."""
    sent = {
        field: getattr(body, field)
        for field in ("newznab_id", "type", "icon", "is_adult")
        if field in body.model_fields_set
    }
    edited: Category = call.dispatch(EditCategory(category=id, name=body.name, **sent))
    return EditedCategoryReply(
        id=edited.id,
        name=edited.name,
        slug=edited.slug,
        parent_id=edited.parent,
        newznab_id=edited.newznab_id,
        type=edited.type,
        icon=edited.icon,
        is_adult=edited.is_adult,
    )


@router.delete("/api/admin/categories/{id}", responses=refusals(NotFound, Conflict, Unavailable))
def remove_category(
    id: UUID, _caller: Administrator, reads: Reads, call: Commands, services: Services
) -> CategoryRemovedReply:
    """Remove a category, unless torrents or subcategories belong to it."""
    # Whatever is committed counts, also what another process has not folded yet.
    services.freshness.require(services.log.head())
    with reads.connection() as connection:
        torrents, children = taxonomy.count_belongings(connection, id)
    call.dispatch(RemoveCategory(category=id, torrents=torrents, children=children))
    return CategoryRemovedReply()


@router.post("/api/admin/categories/seed", responses=refusals(Conflict))
def seed_categories(_caller: Administrator, call: Commands) -> CategoriesSeededReply:
    """Create what is missing of the default tree, with its Newznab ids; the rest stays."""
    return CategoriesSeededReply(created=call.dispatch(SeedCategories()))


def _fields(row: CategoryRow) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.name,
        "slug": row.slug,
        "parent_id": row.parent,
        "newznab_id": row.newznab_id,
        "type": row.type,
        "icon": row.icon,
        "is_adult": row.is_adult,
        "created_at": row.created_at,
    }
