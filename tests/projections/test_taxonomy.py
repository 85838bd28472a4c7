"""The category tree as folded: what logs of earlier versions hold stops it no more."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from domain.kernel import Recorded
from domain.taxonomy import CategoryCreated, CategoryEdited
from projections import engine
from projections.engine import Connection
from projections.taxonomy import TaxonomyProjection, find_category
from tests.kit.domain import AN_ID, enveloped


def test_one_that_was_created_again_after_a_new_name_is_as_created(conn: Connection) -> None:
    fields: dict[str, Any] = {"newznab_id": None, "type": None, "icon": None, "is_adult": False}
    created = CategoryCreated(name="Movies", slug="movies", parent=None, **fields)
    renamed = CategoryEdited(name="Films", slug="films", previous_slug="movies", **fields)
    projection = TaxonomyProjection()
    engine.install(conn, projection)
    batch = [
        Recorded(position=position, envelope=envelope)
        for position, envelope in enumerate(enveloped([created, renamed, created]), 1)
    ]
    with conn.cursor() as cursor:
        schema = sql.Identifier(engine.schema_of(projection))
        cursor.execute(sql.SQL("SET search_path TO {}").format(schema))
        projection.fold(cursor, batch)
    found = find_category(conn, AN_ID)
    assert found is not None
    assert (found.name, found.slug) == ("Movies", "movies")
