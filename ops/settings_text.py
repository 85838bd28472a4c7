"""Settings as text: the commented example environment file, and the reference page."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import SecretStr

from ops.settings import GROUPS
from ops.settings_group import SettingsGroup


def example() -> str:
    """An environment file with every setting, its meaning and default, all commented out."""
    lines = [
        "# Settings of Trackarr, as environment variables. Lines with a leading # are defaults."
    ]
    for group in GROUPS:
        lines += ["", f"# {group.title}: {_sentence(group)}"]
        for key, default, description in _rows(group):
            lines += ["", f"# {description}", f"#{key}={default}"]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The page `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Generated from `ops/settings.py` by `trackarr catalogue`; do not edit.",
        "",
        "Settings are environment variables. An empty value counts as absent, an unknown",
        "`TRACKARR_` key is refused. A secret may stand in a file named by its key and `_FILE`.",
        "What an administrator may change at run time is not here, but in the API.",
    ]
    for group in GROUPS:
        lines += ["", f"## {group.title}", "", _sentence(group), ""]
        lines += ["| Variable | Default | Meaning |", "|---|---|---|"]
        for key, default, description in _rows(group):
            shown = f"`{default}`" if default else "–"
            lines.append(f"| `{key}` | {shown} | {description} |")
    return "\n".join(lines) + "\n"


def _rows(group: type[SettingsGroup]) -> Iterator[tuple[str, str, str]]:
    for field, key in group.keys().items():
        info = group.model_fields[field]
        yield key, _shown(info.default), (info.description or "") + _secret_note(group, field)


def _shown(default: object) -> str:
    if default is None or isinstance(default, SecretStr):
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ",".join(str(item) for item in default)
    return str(default)


def _secret_note(group: type[SettingsGroup], field: str) -> str:
    return " Secret." if group.is_secret(field) else ""


def _sentence(group: type[SettingsGroup]) -> str:
    return (group.__doc__ or "").split("\n", 1)[0]
