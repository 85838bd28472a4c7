"""`trackarr keys`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import psycopg
import typer

from application.store.keyring import Keyring, KeyringError
from application.store.reseal import reseal
from ops.failures import OperatorError
from ops.keyring_file import KeyringFile
from ops.servers import connected
from ops.settings import load_settings

app = typer.Typer(
    help="List, rotate and retire the keys of this installation.", no_args_is_help=True
)


class KeyRefused(OperatorError):
    """The keyring does not allow this change."""


@app.command(name="list")
def list_keys() -> None:
    """Show every key by id, purpose and state; never a secret."""
    for key in _file().load().keys:
        print(f"{key.id:>5}  {key.purpose:<15}  {'retired' if key.retired else 'active'}")


@app.command(name="rotate")
def rotate_keys(
    purpose: Annotated[
        str, typer.Argument(help="What the keys are for, see `trackarr keys list`.")
    ],
) -> None:
    """Make a new key for a purpose and retire the old one, which still opens what it sealed.

    Copy the keyring to every host and restart the processes: each reads it at its start.
    """
    rotated = _changed(lambda ring: ring.rotated(purpose))
    print(f"Key {rotated.active(purpose).id} is now active for {purpose}; restart the processes.")


@app.command(name="reseal")
def reseal_values() -> None:
    """Seal everything under retired keys anew; DATABASE_URL must be the owner's login."""
    ring = _file().load()
    with (
        connected(load_settings()) as urls,
        psycopg.connect(urls.owner_url, autocommit=True) as owner,
    ):
        done = reseal(owner, ring, lambda kind, count: print(f"\r{kind}: {count}", end="  "))
    print(f"\nSealed {done} values anew.")


@app.command(name="drop")
def drop_key(
    key_id: Annotated[int, typer.Argument(help="Id of a retired key.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
) -> None:
    """Destroy a retired key: what it sealed and was not sealed anew is lost for good."""
    if not yes:
        typer.confirm(f"Destroy key {key_id} for good?", abort=True)
    _changed(lambda ring: ring.without(key_id))
    print(f"Key {key_id} is destroyed.")


def _changed(change: Callable[[Keyring], Keyring]) -> Keyring:
    try:
        return _file().change(change)
    except KeyringError as error:
        raise KeyRefused(f"Nothing was changed: {error}.") from None


def _file() -> KeyringFile:
    return KeyringFile(load_settings().storage.keyring_path)
