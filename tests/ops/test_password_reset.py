"""An imported member gets a password from the operator, and signs in with it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from application.password_proofs import PasswordProofs
from application.store.log import EventLog
from application.store.topics import registry
from domain.sessions import CredentialsInvalid
from domain.users import AccountPasswordChanged
from ops.api_client import password_verifier
from ops.cli import run
from ops.keyring_file import KeyringFile
from ops.read_models import install_read_models
from ops.system import SystemEntropy
from tests.kit.servers import APP_PASSWORD, Database, server_folder

LINES = [
    {"kind": "import", "name": "old", "format": 1},
    {"kind": "member", "name": "Anna", "registeredAt": "2020-01-02T03:04:05Z"},
]


@pytest.fixture
def folder(database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with server_folder() as made:
        monkeypatch.setenv("TRACKARR_DATA_DIR", str(made))
        monkeypatch.setenv("DATABASE_URL", database.owner_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        monkeypatch.setenv("TRACKARR_ALLOW_WEAK_REDIS", "1")
        monkeypatch.setenv("TRACKARR_APP_PASSWORD", APP_PASSWORD)
        install_read_models(database.app_url)
        path = made / "old.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
        assert run(["import", str(path)]) == 0
        yield made


@pytest.fixture
def log(folder: Path, database: Database) -> Iterator[EventLog]:
    keyring = KeyringFile(folder / "keyring.json").load_or_create()
    opened = EventLog(database.app_url, keyring, registry())
    yield opened
    opened.close()


class Challenges:
    """Challenges in memory: this asks about passwords, not about Redis."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], bytes] = {}

    def put(self, kind: str, challenge: str, value: bytes) -> None:
        self._kept[kind, challenge] = value

    def take(self, kind: str, challenge: str) -> bytes | None:
        return self._kept.pop((kind, challenge), None)


def signs_in(log: EventLog, name: str, password: str) -> bool:
    proofs = PasswordProofs(log, Challenges(), SystemEntropy(), decoy_key=bytes(32), difficulty=1)
    asked = proofs.issue_challenge(name)
    verifier = password_verifier(password, asked.salt, asked.iterations)
    try:
        proofs.check(
            name, asked.challenge, sha256((verifier + asked.challenge).encode()).hexdigest()
        )
    except CredentialsInvalid:
        return False
    return True


def reset(name: str, password: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
    return run(["user", "reset-password", name])


def test_a_member_without_password_signs_in_after_a_reset(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not signs_in(log, "Anna", "of the old site")
    assert reset("anna", "correct horse", monkeypatch) == 0
    assert "has a new password" in capsys.readouterr().out
    assert signs_in(log, "Anna", "correct horse")
    assert not signs_in(log, "Anna", "of the old site")
    newest = log.read(0, 100)[0][-1].envelope
    assert isinstance(newest.fact, AccountPasswordChanged)
    assert newest.meta.actor is None


def test_a_reset_ends_the_password_before(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reset("Anna", "correct horse", monkeypatch) == 0
    assert reset("Anna", "battery staple", monkeypatch) == 0
    assert signs_in(log, "Anna", "battery staple")
    assert not signs_in(log, "Anna", "correct horse")


def test_a_reset_refuses_strangers_and_short_passwords(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = log.head()
    assert reset("bert", "correct horse", monkeypatch) == 1
    assert "There is no member bert." in capsys.readouterr().err
    assert reset("Anna", "short", monkeypatch) == 1
    assert "at least 8 characters" in capsys.readouterr().err
    assert log.head() == before
