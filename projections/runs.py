"""Batches cut where the order of facts matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from domain.kernel import Fact, Recorded


def runs_between(batch: Sequence[Recorded], *kinds: type[Fact]) -> Iterator[list[Recorded]]:
    """The batch in order, with each fact of these kinds alone, so that the rest folds in sets."""
    run: list[Recorded] = []
    for recorded in batch:
        if isinstance(recorded.envelope.fact, kinds):
            if run:
                yield run
            yield [recorded]
            run = []
        else:
            run.append(recorded)
    if run:
        yield run
