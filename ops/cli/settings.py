"""`trackarr settings`."""

from __future__ import annotations

from ops.settings_text import example


def command() -> None:
    """Print an example environment file with every setting, its meaning and its default."""
    print(example(), end="")
