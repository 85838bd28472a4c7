"""Golden samples: one recorded body for each topic, kept for ever and never rewritten."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from application.store.topics import TopicRegistry, encode_body, registry
from domain.kernel import Fact, Meta, Private

FOLDER: Final = Path("tests/fixtures/golden_events")
SALT: Final = bytes(16)
_AT: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
_ID: Final = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
_META: Final = Meta(at=_AT, actor=_ID, command=_ID, correlation=_ID)
_SEALED: Final = bytes(range(64))


def sample_path(folder: Path, topic: str) -> Path:
    return folder / f"{topic}.json"


def write_missing(folder: Path, known: TopicRegistry) -> list[str]:
    """Write a sample for every topic that has none; the topics written. Never overwrites."""
    written = []
    for topic, kind in sorted(known.types.items()):
        path = sample_path(folder, topic)
        if path.exists():
            continue
        path.write_bytes(without_salt(encode_body(SALT, _META, sample_fact(kind))))
        written.append(topic)
    return written


def recode(known: TopicRegistry, topic: str, sample: bytes) -> bytes:
    """A sample decoded as a stored body is, and encoded again."""
    body = known.decode(topic, with_salt(sample))
    return without_salt(encode_body(SALT, body.meta, body.fact))


def with_salt(sample: bytes) -> bytes:
    """The plain body of a sample: a body with a salt of zeros."""
    parts = msgspec.json.decode(sample)
    return msgspec.json.encode({**parts, "salt": SALT}, order="deterministic")


def without_salt(body: bytes) -> bytes:
    """The sample of a plain body, readable."""
    parts = msgspec.json.decode(body)
    del parts["salt"]
    text = msgspec.json.format(msgspec.json.encode(parts, order="deterministic"), indent=2)
    return text + b"\n"


def sample_fact(kind: type[Fact]) -> Fact:
    """A fact with a value of the right type in every field."""
    hints = typing.get_type_hints(kind)
    values = {field.name: _value(hints[field.name]) for field in msgspec.structs.fields(kind)}
    return kind(**values)


def _value(kind: Any) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated or hasattr(kind, "__supertype__"):
        return _value(parts[0] if parts else kind.__supertype__)
    if origin in (typing.Union, types.UnionType):
        return _value(next(part for part in parts if part is not type(None)))
    if origin is typing.Literal:
        return parts[0]
    if origin in (tuple, list, frozenset, set):
        return _collection(origin, parts)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {_value(parts[0]): _value(parts[1])}
    return _single(kind)


def _collection(origin: Any, parts: tuple[Any, ...]) -> Any:
    if origin is tuple and not (len(parts) == 2 and parts[1] is Ellipsis):
        return tuple(_value(part) for part in parts)
    return origin([_value(parts[0])])


def _single(kind: Any) -> Any:
    if issubclass(kind, Enum):
        return next(iter(kind))
    if issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return kind(**{f.name: _value(hints[f.name]) for f in msgspec.structs.fields(kind)})
    samples: dict[type, Any] = {
        bool: True,
        int: 7,
        str: "text",
        bytes: bytes(range(32)),
        UUID: _ID,
        datetime: _AT,
        date: _AT.date(),
        Private: Private(_ID, None, _SEALED),
    }
    return samples[kind]


def main() -> None:
    """`python -m application.store.golden [folder]`: write the samples that are missing."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for topic in write_missing(folder, registry()):
        sys.stdout.write(f"wrote {sample_path(folder, topic)}\n")


if __name__ == "__main__":
    main()
