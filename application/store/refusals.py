"""What the database's errors mean to who asked: a refusal, or that it is out of reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError

from application.ports import AppendRefused, ClaimTaken, CommandRepeated, VersionConflict
from application.store.recorder import OUT_OF_REACH, constraint_of
from domain.errors import Unavailable


class SubjectKeyRace(AppendRefused):
    """Another command made the key of a subject first."""


def refusal_of(error: IntegrityError) -> Exception:
    """The refusal that a broken constraint of the log stands for."""
    name, detail = constraint_of(error)
    refusals: dict[str, AppendRefused] = {
        "events_pkey": VersionConflict(),
        "events_read": VersionConflict(),
        "claims_pkey": ClaimTaken(detail),
        "commands_pkey": CommandRepeated(),
        "items_absent": SubjectKeyRace(),
    }
    return refusals.get(name, error)


@contextmanager
def reachable() -> Iterator[None]:
    """Raise `Unavailable` where the database is out of reach in this block."""
    try:
        yield
    except (InterfaceError, OperationalError) as error:
        raise Unavailable(OUT_OF_REACH, retry_after=1) from error
