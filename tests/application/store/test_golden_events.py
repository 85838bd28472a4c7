"""Every topic has one recorded sample, and every sample still reads as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from application.store.golden import FOLDER, recode, sample_path, write_missing
from application.store.topics import TopicRegistry, UnknownTopic, registry
from domain.kernel import Fact
from tests.application.store.shelves import shelf_registry

SAMPLES = sorted((Path(__file__).parents[3] / FOLDER).glob("*.json"))


def test_every_topic_has_a_sample() -> None:
    known = {path.stem for path in SAMPLES}
    missing = sorted(registry().topics - known)
    assert missing == [], "run python -m application.store.golden"


def test_no_sample_has_lost_its_topic() -> None:
    assert sorted({path.stem for path in SAMPLES} - registry().topics) == []


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_reads_as_it_was_written(path: Path) -> None:
    known = registry()
    sample = path.read_bytes()
    if path.stem not in known.types:
        recode(known, path.stem, sample)  # an old topic: it must be readable, as a newer one
        return
    assert_same(msgspec.json.decode(sample), msgspec.json.decode(recode(known, path.stem, sample)))


def assert_same(sample: dict[str, Any], again: dict[str, Any]) -> None:
    """Equal in all that was recorded; only fields added later, with a default, may be new."""
    assert again["meta"] == sample["meta"]
    assert sample["fact"].keys() <= again["fact"].keys()
    assert {name: again["fact"][name] for name in sample["fact"]} == sample["fact"]


def test_samples_are_written_once(tmp_path: Path) -> None:
    known = shelf_registry()
    assert write_missing(tmp_path, known) == sorted(known.types)
    changed = sample_path(tmp_path, "shelf.opened.1")
    changed.write_bytes(b"kept")
    assert write_missing(tmp_path, known) == []
    assert changed.read_bytes() == b"kept"


def test_a_renamed_field_breaks_the_sample(tmp_path: Path) -> None:
    known = shelf_registry()
    write_missing(tmp_path, known)

    class ShelfOpened(Fact, frozen=True):
        """A shelf was opened under a title."""

        TOPIC: ClassVar[str] = "shelf.opened.1"
        title: str

    changed = TopicRegistry()
    changed.add(ShelfOpened)
    sample = sample_path(tmp_path, "shelf.opened.1").read_bytes()
    with pytest.raises(msgspec.ValidationError):
        recode(changed, "shelf.opened.1", sample)
    with pytest.raises(UnknownTopic):
        recode(changed, "shelf.renamed.1", sample)
