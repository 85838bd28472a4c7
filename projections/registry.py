"""All projections of the event log, in the order in which they are stepped."""

from __future__ import annotations

from projections.engine import Projection
from projections.history import HistoryProjection

ALL: tuple[Projection, ...] = (HistoryProjection(),)
