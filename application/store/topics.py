"""The closed registry of facts: topic ↔ class, and how old topics are read."""

from __future__ import annotations

import importlib
import pkgutil
import re
import typing
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec

import domain
from domain.kernel import Fact, Meta, Private

T = TypeVar("T")
Plain = dict[str, Any]
Upcast = Callable[[Plain], Plain]

TOPIC: Final = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\.[1-9][0-9]*")
"""`aggregate.fact.N`"""


class UnknownTopic(Exception):
    """The log holds a topic this code does not know: reading stops here."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"unknown topic {topic!r}: this code is older than the log")
        self.topic = topic


class BadFact(TypeError):
    """A fact class breaks the rules of the registry."""


class Body(msgspec.Struct, Generic[T], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The plain body of an event: what is hashed for the chain, then sealed."""

    salt: bytes
    meta: Meta
    fact: T


class PrivateForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `Private` text stands in a body: its subject and the inner seal."""

    subject: UUID
    sealed: bytes | None


def _to_plain(value: object) -> PrivateForm:
    if isinstance(value, Private):
        if value.sealed is None and value.text is not None:
            raise BadFact("private text was not sealed before it was stored")
        return PrivateForm(subject=value.subject, sealed=value.sealed)
    raise NotImplementedError(f"{type(value).__name__} can't be stored in a fact")


def _from_plain(kind: type, value: object) -> Private:
    if kind is Private:
        form = msgspec.convert(value, PrivateForm)
        return Private(form.subject, None, form.sealed)
    raise NotImplementedError(f"{kind.__name__} can't be stored in a fact")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_to_plain, order="deterministic")


def encode_body(salt: bytes, meta: Meta, fact: Fact) -> bytes:
    """The plain body as deterministic JSON."""
    return _ENCODER.encode(Body(salt=salt, meta=meta, fact=fact))


class TopicRegistry:
    """Facts by topic. Only what was added can be written or read."""

    def __init__(self) -> None:
        self._types: dict[str, type[Fact]] = {}
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}
        self._upcasts: dict[str, tuple[str, Upcast]] = {}

    def add(self, *facts: type[Fact]) -> None:
        """Register fact classes.

        Raises `BadFact` for one without an own topic of the form `aggregate.fact.N`, without
        an own docstring, or whose topic is taken.
        """
        for fact in facts:
            topic = fact.__dict__.get("TOPIC")
            if not isinstance(topic, str) or not TOPIC.fullmatch(topic):
                raise BadFact(f"{fact.__qualname__} needs its own TOPIC like torrent.approved.1")
            if not (fact.__dict__.get("__doc__") or "").strip():
                raise BadFact(f"{fact.__qualname__} needs a docstring that states the fact")
            if topic in self._types or topic in self._upcasts:
                raise BadFact(f"{fact.__qualname__}: topic {topic} is taken")
            self._types[topic] = fact
            self._decoders[topic] = msgspec.json.Decoder(
                Body[fact],  # type: ignore[valid-type]
                dec_hook=_from_plain,
            )

    def upcast(self, old: str, new: str, convert: Upcast) -> None:
        """Read topic `old` as `new`, its fact's plain fields changed by `convert`."""
        if old in self._types or old in self._upcasts:
            raise BadFact(f"topic {old} is taken")
        self._upcasts[old] = (new, convert)

    @property
    def types(self) -> Mapping[str, type[Fact]]:
        return dict(self._types)

    @property
    def topics(self) -> frozenset[str]:
        """Every topic that can be read, old ones included."""
        return frozenset(self._types) | frozenset(self._upcasts)

    def check(self, fact: Fact) -> str:
        """The topic of a fact about to be written; raises `BadFact` when not registered."""
        topic = type(fact).TOPIC
        if self._types.get(topic) is not type(fact):
            raise BadFact(f"{type(fact).__qualname__} is not registered")
        return topic

    def sources(self, topics: frozenset[str]) -> frozenset[str]:
        """`topics` and the older ones that are read as one of them."""
        return topics | {old for old in self._upcasts if self._newest(old) in topics}

    def decode(self, topic: str, raw: bytes) -> Body[Fact]:
        """Raises `UnknownTopic`, or msgspec's `ValidationError` for a body that does not fit."""
        decoder = self._decoders.get(topic)
        if decoder is None:
            topic, raw = self._raised(topic, raw)
            decoder = self._decoders[topic]
        body: Body[Fact] = decoder.decode(raw)
        return body

    def _newest(self, topic: str) -> str:
        while topic in self._upcasts:
            topic = self._upcasts[topic][0]
        return topic

    def _raised(self, topic: str, raw: bytes) -> tuple[str, bytes]:
        body: Plain = msgspec.json.decode(raw)
        while topic in self._upcasts:
            topic, convert = self._upcasts[topic]
            body["fact"] = convert(body["fact"])
        if topic not in self._decoders:
            raise UnknownTopic(topic)
        return topic, msgspec.json.encode(body)


def registry() -> TopicRegistry:
    """The registry of every fact that the modules of package `domain` list in `FACTS`."""
    found = TopicRegistry()
    for module in _domain_modules():
        found.add(*getattr(module, "FACTS", ()))
        for old, (new, convert) in getattr(module, "UPCASTS", {}).items():
            found.upcast(old, new, convert)
    return found


def _domain_modules() -> list[ModuleType]:
    names = [m.name for m in pkgutil.walk_packages(domain.__path__, prefix="domain.")]
    return [importlib.import_module(name) for name in sorted(names)]


@lru_cache(maxsize=1024)
def holds_private(kind: Hashable) -> bool:
    """Whether values of this type may hold `Private` text."""
    if kind is Private:
        return True
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return any(holds_private(field.type) for field in msgspec.structs.fields(kind))
    return any(holds_private(part) for part in typing.get_args(kind))
