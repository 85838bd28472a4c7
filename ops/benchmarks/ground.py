"""Fresh embedded servers for a benchmark, in a folder of its own that goes away with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ops.container.foundation import Foundation, foundation
from ops.run_state import Urls, settings_at
from ops.servers import connected
from ops.settings import load_settings


@dataclass(frozen=True)
class Ground:
    """What a benchmark stands on; `urls.owner_url` may make tables for a baseline."""

    urls: Urls
    base: Foundation


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder PostgreSQL's unprivileged user may pass through."""
    with TemporaryDirectory(prefix="trackarr-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder / "data"


@contextmanager
def fresh_ground() -> Iterator[Ground]:
    """Never the operator's own servers, whatever the environment names: this writes much."""
    with open_folder() as folder:
        settings = load_settings({"TRACKARR_DATA_DIR": str(folder)})
        with (
            connected(settings) as urls,
            foundation(settings_at(settings, urls), name="bench") as base,
        ):
            yield Ground(urls, base)
