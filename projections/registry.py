"""All projections of the event log, in the order in which they are stepped."""

from __future__ import annotations

from projections.engine import Projection
from projections.history import HistoryProjection
from projections.site import SiteProjection
from projections.users import UsersProjection

ALL: tuple[Projection, ...] = (
    HistoryProjection(),
    SiteProjection(),
    UsersProjection(),
)
