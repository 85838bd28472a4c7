"""The source keeps every house rule, and every rule finds the fault it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture import projection_rules, rules

ROOT = Path(__file__).resolve().parents[2]
Rule = Callable[[Path], Iterator[str]]

FOREIGN_FOLD = '''"""A projection."""

ROWS = "INSERT INTO copies SELECT id FROM users_1.accounts"


def _copy(cursor):
    cursor.execute(ROWS)


class Copies:
    name = "copies"
    version = 1
    ddl = "CREATE TABLE copies (id uuid)"

    def fold(self, cursor, batch):
        _copy(cursor)
'''
FOREIGN_IMPORT = '''"""A projection that borrows a statement."""

from projections.users import NAMES


class Titles:
    name = "titles"
    version = 1
    ddl = "CREATE TABLE titles (id uuid)"

    def fold(self, cursor, batch):
        cursor.execute(NAMES)
'''
# Each rule with a fault it must find: where to put it, what it holds, what is said about it.
PLANTED: list[tuple[Rule, str, str, str]] = [
    (rules.module_sizes, "domain/long.py", "x = 1\n" * 401, "domain/long.py has 401 lines"),
    (rules.module_sizes, "tests/domain/test_long.py", "x = 1\n" * 401, "has 401 lines"),
    (rules.module_names, "application/utils.py", '"""Any."""\n', "says nothing"),
    (rules.module_names, "domain/bonus_helpers.py", '"""Any."""\n', "says nothing"),
    (rules.module_names, "ops/common/paths.py", '"""Any."""\n', "says nothing"),
    (rules.module_names, "domain/any.py", "def process_data(): ...\n", "process_data"),
    (rules.module_docstrings, "domain/silent.py", "x = 1\n", "does not say what lives in it"),
    (rules.domain_imports, "domain/web.py", "import httpx\n", "domain/web.py:1 imports httpx"),
    (rules.domain_imports, "domain/up.py", "from application import bus\n", "imports application"),
    (rules.domain_imports, "domain/near.py", "from . import kernel\n", "imports ."),
    (rules.sql_homes, "interfaces/http/a.py", 'q = "SELECT id FROM t"\n', "a.py:1 holds SQL"),
    (rules.sql_homes, "ops/b.py", 'q = f"DELETE FROM {1}"\n', "b.py:1 holds SQL"),
    (rules.sql_homes, "application/c.py", 'q = b"INSERT INTO t VALUES (1)"\n', "c.py:1 holds SQL"),
    (rules.sql_homes, "domain/d.py", 'q = """\n  UPDATE t\n  SET a = 1"""\n', "d.py:1 holds SQL"),
    (rules.sql_homes, "ops/e.py", 'q = "CREATE TABLE t (id int)"\n', "e.py:1 holds SQL"),
    (rules.sql_homes, "ops/f.py", 'q = "WITH a AS (SELECT 1) SELECT 2"\n', "f.py:1 holds SQL"),
    (rules.sql_homes, "projections/tables.sql", "SELECT 1;\n", "SQL outside ops/migrations"),
    (
        rules.http_exceptions,
        "interfaces/http/torrents.py",
        "from fastapi import HTTPException\n",
        "uses HTTPException",
    ),
    (
        rules.http_exceptions,
        "interfaces/feeds/rss.py",
        "import fastapi\nraise fastapi.HTTPException(404)\n",
        "uses HTTPException",
    ),
    (rules.unfinished_work, "domain/later.py", "x = 1  # TODO finish\n", "later.py:1 # TODO"),
    (rules.unfinished_work, "tests/test_s.py", "pytest.skip('no')\n", "pytest.skip("),
    (
        rules.unfinished_work,
        "tests/test_x.py",
        "@pytest.mark.xfail\ndef test(): ...\n",
        "pytest.mark.xfail",
    ),
    (rules.unfinished_work, "tests/test_p.py", "mock.patch('a.b.c')\n", "mock.patch("),
    (projection_rules.folds_stay_home, "projections/copies.py", FOREIGN_FOLD, "users_1"),
    (
        projection_rules.folds_stay_home,
        "projections/direct.py",
        FOREIGN_FOLD.replace(
            "_copy(cursor)\n", 'cursor.execute("SELECT 1 FROM site_2.settings")\n'
        ),
        "site_2",
    ),
    (projection_rules.folds_stay_home, "projections/titles.py", FOREIGN_IMPORT, "users_1"),
    (
        projection_rules.nothing_lasting_crosses,
        "projections/view.py",
        'ddl = "CREATE VIEW v AS SELECT id FROM users_1.accounts"\n',
        "view.py:1 keeps a reference",
    ),
    (
        projection_rules.nothing_lasting_crosses,
        "projections/key.py",
        'ddl = "CREATE TABLE t (id uuid REFERENCES users_1.accounts)"\n',
        "key.py:1 keeps a reference",
    ),
    (
        projection_rules.nothing_lasting_crosses,
        "ops/migrations/0009_x.sql",
        "CREATE VIEW v AS SELECT 1 FROM users_1.accounts;\n",
        "0009_x.sql names a projection's schema",
    ),
]
RULES = list(dict.fromkeys(rule for rule, *_ in PLANTED))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Rule) -> None:
    assert list(rule(ROOT)) == []


@pytest.mark.parametrize(
    ("rule", "path", "text", "said"), PLANTED, ids=[f"{r.__name__}-{p}" for r, p, *_ in PLANTED]
)
def test_the_rule_finds_a_planted_fault(
    tmp_path: Path, rule: Rule, path: str, text: str, said: str
) -> None:
    users = tmp_path / "projections" / "users.py"
    users.parent.mkdir()
    users.write_text('"""Users."""\n\nNAMES = "SELECT id FROM users_1.accounts"\n')
    assert list(rule(tmp_path)) == []
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text)
    found = list(rule(tmp_path))
    assert len(found) == 1, found
    assert said in found[0]


def test_plain_text_is_no_sql() -> None:
    for text in ("Select a torrent to see it", "update your client", "drop the file here"):
        assert rules.SQL.match(text) is None
