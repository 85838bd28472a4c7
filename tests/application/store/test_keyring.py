"""Keys by id and purpose, wrapped, rotated, and lost only on purpose."""

from __future__ import annotations

import msgspec
import pytest

from application.store import keyring as keyring_module
from application.store.keyring import (
    PURPOSES,
    KeyMissing,
    Keyring,
    KeyringError,
    WrongKey,
    decode_kek,
    encode_kek,
    new_kek,
    unwrap_kek,
    wrap_kek,
)


@pytest.fixture(autouse=True)
def _light_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_module, "SCRYPT_N", 2**10)


def test_a_new_ring_has_a_key_for_each_purpose() -> None:
    ring = Keyring.generate()
    assert [ring.active(purpose).purpose for purpose in PURPOSES] == list(PURPOSES)
    assert len({key.id for key in ring.keys}) == len(PURPOSES)
    assert len({key.material for key in ring.keys}) == len(PURPOSES)


def test_the_stored_form_holds_no_secret_and_opens_again() -> None:
    ring, kek = Keyring.generate(), new_kek()
    stored = ring.to_json(kek)
    wrapped = [key["wrapped"] for key in msgspec.json.decode(stored)["keys"]]
    assert len(wrapped) == len(PURPOSES)
    for key in ring.keys:
        assert encode_kek(key.material) not in stored.decode()
    assert Keyring.from_json(stored, kek).keys == ring.keys


def test_another_key_does_not_open_it() -> None:
    stored = Keyring.generate().to_json(new_kek())
    with pytest.raises(WrongKey):
        Keyring.from_json(stored, new_kek())


def test_a_retired_key_can_not_be_made_active_in_the_file() -> None:
    kek = new_kek()
    stored = Keyring.generate().rotated("events").to_json(kek)
    assert b'"retired": true' in stored
    with pytest.raises(WrongKey):
        Keyring.from_json(stored.replace(b'"retired": true', b'"retired": false'), kek)


@pytest.mark.parametrize("stored", [b"", b"{}", b'{"format":2,"keys":[]}', b"[1]"])
def test_a_form_we_do_not_know_is_refused(stored: bytes) -> None:
    with pytest.raises(KeyringError):
        Keyring.from_json(stored, new_kek())


def test_rotation_retires_the_old_key_and_keeps_it() -> None:
    ring = Keyring.generate()
    old = ring.active("events")
    rotated = ring.rotated("events")
    assert rotated.active("events").id == max(key.id for key in ring.keys) + 1
    assert rotated.by_id(old.id).retired
    assert set(rotated.materials("events")) == {old.id, rotated.active("events").id}
    dropped = rotated.without(old.id)
    with pytest.raises(KeyMissing):
        dropped.by_id(old.id)
    with pytest.raises(KeyringError):
        rotated.without(rotated.active("events").id)


@pytest.mark.parametrize("purpose", ["claims", "unheard"])
def test_what_can_not_be_rotated(purpose: str) -> None:
    with pytest.raises(KeyringError):
        Keyring.generate().rotated(purpose)


def test_an_older_ring_is_completed() -> None:
    ring = Keyring(key for key in Keyring.generate().keys if key.purpose != "snapshots")
    with pytest.raises(KeyMissing):
        ring.active("snapshots")
    completed = ring.completed()
    assert completed.active("snapshots").id not in {key.id for key in ring.keys}
    assert set(ring.keys) < set(completed.keys)


def test_secrets_are_not_shown() -> None:
    key = Keyring.generate().active("events")
    assert repr(key.material) not in repr(key)
    assert "material" not in repr(key)


def test_a_password_wraps_the_key_encryption_key() -> None:
    kek = new_kek()
    wrapped = wrap_kek(kek, "correct horse battery")
    assert unwrap_kek(wrapped, "correct horse battery") == kek
    with pytest.raises(WrongKey):
        unwrap_kek(wrapped, "correct horse batterie")
    with pytest.raises(KeyringError):
        unwrap_kek(b"{}", "correct horse battery")


def test_the_text_form_of_the_key_is_checked() -> None:
    kek = new_kek()
    assert decode_kek(encode_kek(kek) + "\n") == kek
    for text in ("", "AAAA", encode_kek(kek)[:-2], "ä"):
        with pytest.raises(KeyringError):
            decode_kek(text)
