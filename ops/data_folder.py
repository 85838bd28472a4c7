"""The data folder: made private, locked by one owner, and the secrets kept in it."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from pathlib import Path
from typing import IO

from ops.failures import DataFolderBusy, DataFolderUnusable


def prepare_folder(root: Path) -> None:
    """Make `root` private to us; as root another user may pass through, for PostgreSQL."""
    try:
        root.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        writable = os.access(root, os.W_OK | os.X_OK)
    except OSError as error:
        raise DataFolderUnusable(
            f"The data folder {root} cannot be made: {(error.strerror or 'unknown error').lower()}."
        ) from None
    if not writable:
        raise DataFolderUnusable(f"The data folder {root} is not writable by this user.")


def lock_file(path: Path) -> IO[str]:
    """Hold an exclusive lock until the file is closed or we end; raises DataFolderBusy."""
    try:
        file = path.open("a+")
    except OSError:
        raise DataFolderUnusable(f"{path} belongs to another user.") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise DataFolderBusy(
            f"The data folder {path.parent} is in use by another running Trackarr."
        ) from None
    return file


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock at this moment."""
    if not path.exists():
        return False
    try:
        lock_file(path).close()
    except DataFolderBusy:
        return True
    return False


def write_private(path: Path, text: str) -> None:
    """Write a file no other user may read; complete, and there to stay, once we return.

    What is sealed under a key just made must not outlive the key, so the folder's entry is
    synced as well.
    """
    _written_beside(path, text).replace(path)
    _sync_folder(path.parent)


def kept_secret(path: Path, size: int = 24) -> str:
    """The secret of this file; made of `size` random bytes, in hex, by whoever asks first.

    Of several that ask at once one makes it, and all read what that one made. Raises
    `DataFolderUnusable`.
    """
    kept = read_secret(path)
    if kept is not None:
        return kept
    making = _written_beside(path, secrets.token_hex(size))
    try:
        # Unlike a rename, a link never takes the place of a file that is there.
        os.link(making, path)
    except FileExistsError:
        pass
    except OSError as error:
        raise DataFolderUnusable(
            f"{path} cannot be made: {(error.strerror or 'unknown error').lower()};"
            " the data folder needs a file system with hard links."
        ) from None
    finally:
        making.unlink()
    _sync_folder(path.parent)
    return path.read_text()


def read_secret(path: Path) -> str | None:
    """The secret of this file, None where none was made yet. Raises `DataFolderUnusable`."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise DataFolderUnusable(f"{path} belongs to another user.") from None


def _written_beside(path: Path, text: str) -> Path:
    """A private file with this text next to `path`, on the disk, under a name of its own."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
