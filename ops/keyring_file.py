"""The keyring and its key-encryption key as files only their owner may read."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from application.store.keyring import (
    Keyring,
    KeyringError,
    decode_kek,
    encode_kek,
    new_kek,
    unwrap_kek,
    wrap_kek,
)
from ops.data_folder import write_private
from ops.failures import OperatorError


class KeyringUnusable(OperatorError):
    """The keyring or its key is missing, damaged or open to others."""


class KeyringFile:
    """`keyring.json` and, beside it, `.kek` (the key that opens it) and `.kek.wrapped`.

    The wrapped copy opens with the panic password and stays when the key itself is destroyed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kek_path = path.with_suffix(".kek")
        self.wrapped_path = path.with_suffix(".kek.wrapped")

    def load(self) -> Keyring:
        """Raises `KeyringUnusable` with a sentence for the operator."""
        kek = self._kek()
        try:
            return Keyring.from_json(self._read(self.path), kek)
        except KeyringError as error:
            raise KeyringUnusable(f"The keyring {self.path} is unusable: {error}.") from None

    def load_or_create(self) -> Keyring:
        """The keyring; a fresh one where there is neither a keyring nor a key yet.

        Safe when several processes start at once. A ring that lacks a purpose this version
        needs is completed.
        """
        with self._locked():
            if self.path.exists() or self.kek_path.exists() or self.wrapped_path.exists():
                ring = self.load()
                completed = ring.completed()
                if len(completed.keys) > len(ring.keys):
                    self._save(completed)
                return completed
            kek, ring = new_kek(), Keyring.generate()
            # The ring first: a crash in between leaves a ring without key, refused, not half a pair.
            write_private(self.path, ring.to_json(kek).decode())
            write_private(self.kek_path, encode_kek(kek))
            return ring

    def change(self, change: Callable[[Keyring], Keyring]) -> Keyring:
        """Replace the stored ring by what `change` makes of it; the new one.

        Two changes at once come one after the other: else both could give their new key the
        same id, and what was sealed under the lost one would never open again. Raises what
        `change` raises; nothing is stored then.
        """
        with self._locked():
            changed = change(self.load())
            self._save(changed)
            return changed

    def wrap(self, password: str) -> None:
        """Keep a copy of the key-encryption key that opens with `password`."""
        write_private(self.wrapped_path, wrap_kek(self._kek(), password).decode())

    def destroy_kek(self) -> None:
        """Overwrite and remove the key; raises `KeyringUnusable` when no wrapped copy exists."""
        if not self.wrapped_path.exists():
            raise KeyringUnusable("No panic password is set: without it nothing could be restored.")
        with self.kek_path.open("r+b") as file:
            file.write(os.urandom(max(1, self.kek_path.stat().st_size)))
            file.flush()
            os.fsync(file.fileno())
        self.kek_path.unlink()

    def restore_kek(self, password: str) -> None:
        """Bring the key back from its wrapped copy."""
        try:
            kek = unwrap_kek(self._read(self.wrapped_path), password)
            Keyring.from_json(self._read(self.path), kek)
        except KeyringError as error:
            raise KeyringUnusable(f"The key can't be restored: {error}.") from None
        write_private(self.kek_path, encode_kek(kek))

    def _save(self, ring: Keyring) -> None:
        write_private(self.path, ring.to_json(self._kek()).decode())

    def _kek(self) -> bytes:
        try:
            return decode_kek(self._read(self.kek_path).decode(errors="replace"))
        except KeyringError as error:
            raise KeyringUnusable(f"{self.kek_path} is unusable: {error}.") from None

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise KeyringUnusable(f"{path} is open to other users; run chmod 600 on it.")
                return file.read()
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise KeyringUnusable(f"{path} can't be read: {reason}.") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.path.with_suffix(".lock")
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise KeyringUnusable(f"{lock} can't be made: {reason}.") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
