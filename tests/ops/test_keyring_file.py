"""The keyring on disk: private, made once, never replaced by accident."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from pathlib import Path

import pytest

from application.store import keyring as keyring_module
from application.store.keyring import PURPOSES, Keyring
from ops.keyring_file import KeyringFile, KeyringUnusable


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyringFile:
    monkeypatch.setattr(keyring_module, "SCRYPT_N", 2**10)
    return KeyringFile(tmp_path / "keyring.json")


def test_a_ring_is_made_once_and_private(file: KeyringFile) -> None:
    ring = file.load_or_create()
    assert [ring.active(p).purpose for p in PURPOSES] == list(PURPOSES)
    assert file.load_or_create().keys == ring.keys
    assert file.load().keys == ring.keys
    for path in (file.path, file.kek_path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_ring_survives_a_power_cut_once_it_is_made(
    file: KeyringFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    file.load_or_create()
    assert synced[-1] == file.path.parent


def test_many_at_once_get_the_same_ring(file: KeyringFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: KeyringFile(file.path).load_or_create(), range(8)))
    assert len({ring.keys for ring in rings}) == 1


def test_a_lost_half_is_never_replaced_by_a_new_ring(file: KeyringFile) -> None:
    file.load_or_create()
    kept = file.path.read_bytes()
    file.kek_path.unlink()
    with pytest.raises(KeyringUnusable):
        file.load_or_create()
    assert file.path.read_bytes() == kept
    file.path.unlink()
    file.kek_path.write_text("")
    with pytest.raises(KeyringUnusable):
        file.load_or_create()
    assert not file.path.exists()


@pytest.mark.parametrize("name", ["path", "kek_path"])
def test_a_file_open_to_others_is_refused(file: KeyringFile, name: str) -> None:
    file.load_or_create()
    getattr(file, name).chmod(0o640)
    with pytest.raises(KeyringUnusable, match="chmod 600"):
        file.load()


def test_a_damaged_ring_is_refused_in_one_sentence(file: KeyringFile) -> None:
    file.load_or_create()
    file.path.write_text("{")
    with pytest.raises(KeyringUnusable, match=r"damaged\.$"):
        file.load()


def test_an_older_ring_is_completed_on_disk(file: KeyringFile) -> None:
    file.load_or_create()
    file.change(lambda ring: Keyring(key for key in ring.keys if key.purpose != "snapshots"))
    completed = file.load_or_create()
    assert completed.active("snapshots")
    assert file.load().keys == completed.keys


def test_two_changes_at_once_lose_no_key(file: KeyringFile) -> None:
    purposes = ("events", "vault", "cookie", "passkeys", "signing", "challenges")
    before = file.load_or_create()
    with ThreadPoolExecutor(len(purposes)) as pool:
        tasks = [
            pool.submit(KeyringFile(file.path).change, methodcaller("rotated", purpose))
            for purpose in purposes
        ]
    rings = [task.result() for task in tasks]
    after = file.load()
    for purpose, ring in zip(purposes, rings, strict=True):
        assert after.active(purpose) == ring.active(purpose)
    assert len(after.keys) == len(before.keys) + len(purposes)


def test_the_key_is_destroyed_and_restored_by_the_password(file: KeyringFile) -> None:
    ring = file.load_or_create()
    with pytest.raises(KeyringUnusable):
        file.destroy_kek()
    file.wrap("correct horse battery")
    file.destroy_kek()
    assert not file.kek_path.exists()
    with pytest.raises(KeyringUnusable):
        file.load_or_create()
    with pytest.raises(KeyringUnusable):
        file.restore_kek("wrong horse battery")
    assert not file.kek_path.exists()
    file.restore_kek("correct horse battery")
    assert file.load().keys == ring.keys
    assert file.kek_path.stat().st_mode & 0o777 == 0o600
