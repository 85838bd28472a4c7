"""`trackarr user` as the operator types it, where he acts for the system."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest

from application.bus import Bus, Context
from application.factors import load_factors
from application.handlers import HANDLERS, TAKEN
from application.password_proofs import Verifier
from application.ports import Writes
from application.store.log import EventLog
from application.store.topics import registry
from application.users import RegisterAccount
from domain.factors import TotpEnabled, TotpPrepared, factors_id
from domain.kernel import Envelope, Meta
from ops.cli import run
from ops.keyring_file import KeyringFile
from ops.read_models import install_read_models
from projections.engine import step
from projections.users import UsersProjection
from tests.kit.servers import server_folder


class Site:
    """A founded site whose one member is alice, as the operator's program will find it."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.alice = uuid4()
        bus = Bus(log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)
        command = RegisterAccount(
            account=self.alice,
            username="alice",
            kid=1,
            verifier=Verifier(salt="s" * 44, verifier="v" * 44),
            invite=None,
            may_found=True,
            session=uuid4(),
            token_hash="0" * 64,
        )
        bus.dispatch(command, Context(at=datetime.now(UTC), command=uuid4(), correlation=uuid4()))

    def enable_totp(self) -> None:
        facts = [
            TotpPrepared(account=self.alice),
            TotpEnabled(account=self.alice, step=1, recovery_codes=10),
        ]
        meta = Meta(at=datetime.now(UTC), actor=self.alice, command=uuid4(), correlation=uuid4())
        envelopes = tuple(
            Envelope(
                originator_id=factors_id(self.alice), originator_version=n, meta=meta, fact=fact
            )
            for n, fact in enumerate(facts, 1)
        )
        self.log.append(Writes(command_id=uuid4(), envelopes=envelopes))

    def has_factor(self, account: UUID) -> bool:
        return load_factors(self.log, account).any


@pytest.fixture
def site(app_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with server_folder() as folder:
        monkeypatch.setenv("TRACKARR_DATA_DIR", str(folder))
        monkeypatch.setenv("DATABASE_URL", app_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        monkeypatch.setenv("TRACKARR_ALLOW_WEAK_REDIS", "1")
        install_read_models(app_url)
        keyring = KeyringFile(folder / "keyring.json").load_or_create()
        log = EventLog(app_url, keyring, registry())
        made = Site(log)
        with psycopg.connect(app_url, autocommit=True) as conn:
            step(conn, log, UsersProjection())
        yield made
        log.close()


def test_reset_factors_takes_them(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.enable_totp()
    assert site.has_factor(site.alice)
    assert run(["user", "reset-factors", "alice", "--reason", "lost his phone"]) == 0
    assert capsys.readouterr().out == "alice has no second factor any more\n"
    assert not site.has_factor(site.alice)
    assert run(["user", "reset-factors", "alice"]) == 0
    assert capsys.readouterr().out == "alice has no second factor\n"


def test_reset_factors_knows_no_stranger(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["user", "reset-factors", "bert"]) == 1
    assert capsys.readouterr().err == "trackarr: There is no member bert.\n"
