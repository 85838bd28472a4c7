"""Given facts, when a decision is asked for, then these facts or that refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import pytest

from domain.errors import DomainError
from domain.kernel import Envelope, Fact, Meta

S = TypeVar("S")
AN_ID = UUID(int=1)
A_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def enveloped(facts: Sequence[Fact], id: UUID = AN_ID) -> list[Envelope]:
    """The facts as the log would give them back, versions from 1."""
    meta = Meta(at=A_TIME, actor=None, command=UUID(int=2), correlation=UUID(int=3))
    return [
        Envelope(originator_id=id, originator_version=version, meta=meta, fact=fact)
        for version, fact in enumerate(facts, 1)
    ]


def folded(evolve: Callable[[S | None, Envelope], S], *facts: Fact, id: UUID = AN_ID) -> S | None:
    state: S | None = None
    for envelope in enveloped(facts, id):
        state = evolve(state, envelope)
    return state


@dataclass
class Asked:
    """What a decision answered."""

    facts: list[Fact] | None
    refusal: DomainError | None

    def then(self, *facts: Fact) -> None:
        assert self.refusal is None, f"refused: {self.refusal!r}"
        assert self.facts == list(facts)

    def then_refused(self, kind: type[DomainError], **data: Any) -> None:
        assert type(self.refusal) is kind, f"answered {self.facts}, refused {self.refusal!r}"
        for name, value in data.items():
            assert self.refusal.data[name] == value


@dataclass
class Given(Generic[S]):
    """An aggregate with its history."""

    state: S | None

    def when(self, decide: Callable[..., list[Fact]], *args: Any, **asked: Any) -> Asked:
        try:
            return Asked(decide(self.state, *args, **asked), None)
        except DomainError as refusal:
            return Asked(None, refusal)


def given(evolve: Callable[[S | None, Envelope], S], *facts: Fact, id: UUID = AN_ID) -> Given[S]:
    return Given(folded(evolve, *facts, id=id))


def refuses_foreign_facts(evolve: Callable[[Any, Envelope], Any], first: Fact) -> None:
    """A fact of another aggregate, or none before the first, stops the fold."""

    class Foreign(Fact, frozen=True):
        """Something else happened."""

    for history in ((Foreign(),), (first, Foreign())):
        with pytest.raises(TypeError, match="Foreign"):
            folded(evolve, *history)
