"""`trackarr keys` as an operator types it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from application.ports import VaultPut
from application.store.log import EventLog
from ops.cli import run
from ops.keyring_file import KeyringFile
from tests.application.store.shelves import ShelfOpened, envelopes, shelf_registry, writes
from tests.kit.servers import server_folder


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyringFile]:
    with server_folder() as folder:
        monkeypatch.setenv("TRACKARR_DATA_DIR", str(folder))
        made = KeyringFile(folder / "keyring.json")
        made.load_or_create()
        yield made


def test_list_shows_keys_and_no_secret(
    file: KeyringFile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["keys", "list"]) == 0
    shown = capsys.readouterr().out
    ring = file.load()
    assert len(shown.splitlines()) == len(ring.keys)
    assert all(key.material.hex() not in shown for key in ring.keys)


def test_rotate_then_drop(file: KeyringFile, capsys: pytest.CaptureFixture[str]) -> None:
    old = file.load().active("cookie")
    assert run(["keys", "drop", str(old.id), "--yes"]) == 1
    assert run(["keys", "rotate", "cookie"]) == 0
    assert file.load().active("cookie").id != old.id
    assert run(["keys", "drop", str(old.id), "--yes"]) == 0
    assert old.id not in {key.id for key in file.load().keys}
    assert run(["keys", "rotate", "claims"]) == 1
    assert "can't be rotated" in capsys.readouterr().err


def test_reseal_moves_everything_to_the_active_key(
    file: KeyringFile,
    app_url: str,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = EventLog(app_url, file.load(), shelf_registry())
    put = VaultPut(kind="k", owner=uuid4(), id="", value=b"v")
    log.append(writes(*envelopes(uuid4(), 0, ShelfOpened(name="a")), puts=[put]))
    log.close()
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("TRACKARR_ALLOW_WEAK_REDIS", "1")  # the tests' own server is not durable
    for purpose in ("events", "vault"):
        assert run(["keys", "rotate", purpose]) == 0
    assert run(["keys", "reseal"]) == 0
    assert "Sealed 2 values anew." in capsys.readouterr().out
    with psycopg.connect(database_url) as owner:
        state = owner.execute("SELECT state FROM log.events").fetchone()
    assert state is not None
    assert int.from_bytes(state[0][:4], "big") == file.load().active("events").id
