"""The import contracts hold, and each of them finds the import it forbids."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from tests.architecture.rules import layers

ROOT = Path(__file__).resolve().parents[2]
# One forbidden import a contract, by the contract's name in `pyproject.toml`.
PLANTED = {
    "layers": ("domain/kernel.py", "import application.bus"),
    "domain knows no library but msgspec": ("domain/errors.py", "import psycopg"),
    "tracker stands aside": ("tracker/logic.py", "import domain.kernel"),
    "only tracker.wire may be imported": ("projections/ledger.py", "import tracker.logic"),
    "only workers know dramatiq": ("interfaces/http/app.py", "import dramatiq"),
    "only the store knows the event-store library": ("projections/log.py", "import eventsourcing"),
}


def contracts() -> list[dict[str, list[str] | str]]:
    text = (ROOT / "pyproject.toml").read_text()
    return list(tomllib.loads(text)["tool"]["importlinter"]["contracts"])


def bare_tree(root: Path) -> None:
    """A tree with every module the contracts name, all empty."""
    shutil.copy(ROOT / "pyproject.toml", root)
    own = ("domain", "application", "projections", "interfaces", "tracker", "ops")
    named = {
        str(module)
        for contract in contracts()
        for key in ("layers", "source_modules", "forbidden_modules")
        for module in contract.get(key, [])
        if str(module).split(".")[0] in own
    }
    named |= {path.removesuffix(".py").replace("/", ".") for path, _ in PLANTED.values()}
    for module in sorted({*own, *named}):
        folder = root.joinpath(*module.split("."))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("")
    (root / "application" / "bus").mkdir(exist_ok=True)
    (root / "application" / "bus" / "__init__.py").touch()


def plant(root: Path, path: str, statement: str) -> None:
    (root / path.removesuffix(".py") / "__init__.py").write_text(f"{statement}\n")


def test_the_source_keeps_the_contracts() -> None:
    assert list(layers(ROOT)) == []


def test_every_contract_has_a_planted_fault() -> None:
    assert {contract["name"] for contract in contracts()} == set(PLANTED)


def test_a_bare_tree_keeps_the_contracts(tmp_path: Path) -> None:
    bare_tree(tmp_path)
    assert list(layers(tmp_path)) == []


def test_each_contract_finds_its_fault(tmp_path: Path) -> None:
    bare_tree(tmp_path)
    for path, statement in PLANTED.values():
        plant(tmp_path, path, statement)
    assert set(layers(tmp_path)) == set(PLANTED)
