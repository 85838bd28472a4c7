"""Making the schemas of the read models, as the login that owns them."""

from __future__ import annotations

import psycopg

from projections import accounting, member_directory
from projections.engine import install
from projections.registry import ALL


def install_read_models(app_conninfo: str) -> list[str]:
    """Make the schemas this version needs and does not find; their names.

    Schemas of other versions are left alone: their processes may still run.
    """
    with psycopg.connect(app_conninfo, autocommit=True) as conn:
        made = [projection.name for projection in ALL if install(conn, projection)]
        if accounting.install(conn):
            made.append("accounting")
        if member_directory.install(conn):
            made.append("member_directory")
        return made
