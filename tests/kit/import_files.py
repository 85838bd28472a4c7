"""Lines of import files, as another site would write them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tests.kit.torrents import info_hash_of, torrent_file

HEADING = {"kind": "import", "name": "old site", "format": 1}
ANNA = {"kind": "member", "name": "Anna", "registeredAt": "2020-01-02T03:04:05Z"}
FILMS = {"kind": "category", "name": "Films", "type": "movie", "newznabId": 2000}
SHORT = {"kind": "category", "name": "Short", "slug": "films-short", "parent": "films"}
GRASS = torrent_file("Grass")


def torrent(content: bytes | None = GRASS, **more: Any) -> dict[str, Any]:
    line = {
        "kind": "torrent",
        "uploader": "anna",
        "uploadedAt": "2021-01-02T03:04:05+02:00",
        "content": content and base64.b64encode(content).decode(),
        "category": "films",
    }
    return {**line, **more}


def comment(text: str = "Well seeded.", **more: Any) -> dict[str, Any]:
    line = {
        "kind": "comment",
        "torrent": info_hash_of(GRASS),
        "author": "Anna",
        "postedAt": "2021-02-02T03:04:05Z",
        "text": text,
    }
    return {**line, **more}


def write(folder: Path, *lines: dict[str, Any] | str, name: str = "old.jsonl") -> Path:
    path = folder / name
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path
