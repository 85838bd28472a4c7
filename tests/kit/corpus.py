"""The .torrent files of other projects, with the outcome each must have."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "fixtures" / "torrents"


@dataclass(frozen=True)
class Sample:
    """One row of the corpus; hashes are None where the file has none."""

    name: str
    kind: str
    is_private: bool
    accepted: bool
    v1: str | None
    v1_if_private: str | None
    v2: str | None

    def read(self) -> bytes:
        return (FOLDER / self.name).read_bytes()


def corpus() -> list[Sample]:
    with (FOLDER / "index.tsv").open(encoding="utf-8", newline="") as lines:
        return [
            Sample(
                name=row["name"],
                kind=row["kind"],
                is_private=row["private"] == "yes",
                accepted=row["expect"] == "accept",
                v1=row["infohash_v1"] or None,
                v1_if_private=row["infohash_v1_if_private_is_set"] or None,
                v2=row["infohash_v2"] or None,
            )
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]


ACCEPTED = [sample for sample in corpus() if sample.accepted]
REFUSED = [sample for sample in corpus() if not sample.accepted]


def sample(name: str) -> bytes:
    return (FOLDER / f"{name}.torrent").read_bytes()
