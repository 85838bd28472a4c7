"""The library's application around our recorder and mapper: repository and save."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import ApplicationRecorder, InfrastructureFactory, Mapper
from eventsourcing.postgres import PostgresDatastore
from eventsourcing.utils import Environment, EnvType

from application.store.mapper import EnvelopeMapper
from application.store.recorder import Changes, EventLogRecorder
from domain.kernel import Envelope

S = TypeVar("S")


class _Factory(InfrastructureFactory[Any]):
    """Gives the application what was made for it; nothing is made from environment variables."""

    def __init__(self, env: Environment, datastore: PostgresDatastore) -> None:
        super().__init__(env)
        self._datastore = datastore

    def aggregate_recorder(self, purpose: str = "events") -> Any:
        raise NotImplementedError(f"this log keeps no {purpose} of its own for aggregates")

    def application_recorder(self) -> Any:
        raise NotImplementedError("the recorder is given")

    def tracking_recorder(self, tracking_recorder_class: Any = None) -> Any:
        raise NotImplementedError("positions are kept by the projections")

    def process_recorder(self) -> Any:
        raise NotImplementedError("positions are kept by the projections")

    def close(self) -> None:
        self._datastore.close()


class EventApplication(Application[UUID]):
    """One log for everything, hence one total order."""

    name = "log"

    def __init__(self, recorder: EventLogRecorder, mapper: EnvelopeMapper) -> None:
        self._given_recorder = recorder
        self._given_mapper = mapper
        super().__init__()

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        """No environment variable of the library has a say here."""
        return Environment(name, dict(env or {}))

    def construct_factory(self, env: Environment) -> InfrastructureFactory[Any]:
        return _Factory(env, self._given_recorder.datastore)

    def construct_mapper(self) -> Mapper[UUID]:
        return self._given_mapper

    def construct_recorder(self) -> ApplicationRecorder:
        return self._given_recorder

    def record(self, envelopes: Sequence[Envelope], changes: Changes) -> list[int]:
        """Save facts and changes in one transaction; the facts' positions."""
        events: Sequence[Any] = envelopes
        return [recorded.notification.id for recorded in self.events.put(events, changes=changes)]

    def fold(
        self, originator_id: UUID, project: Callable[[S | None, Iterable[Any]], S | None]
    ) -> S | None:
        """Fold an aggregate's facts; raises `AggregateNotFoundError` when there are none."""
        projector: Any = project
        state: Any = self.repository.get(originator_id, projector_func=projector)
        found: S | None = state
        return found
