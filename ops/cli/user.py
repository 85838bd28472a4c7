"""`trackarr user`: be a member from the terminal, and help one as the operator."""

from __future__ import annotations

import getpass
import json
import os
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from application.factor_reset import ResetFactors
from application.password_proofs import ITERATIONS
from application.password_resets import ResetPassword
from application.roles import GrantRole
from domain.errors import DomainError
from ops.api_client import (
    SALT_SIZE,
    ApiClient,
    ApiRefused,
    password_verifier,
    read_torrent,
)
from ops.container.operator import operator
from ops.installation import operator_token
from ops.run_state import read_run_state, settings_at
from ops.servers import connected
from ops.settings import load_settings
from projections.users import find_account_by_name

app = typer.Typer(
    help="Act as a member over the API of the running Trackarr, or help one as the operator.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(help="The member's name.")]
SHORTEST_PASSWORD = 8


@app.command()
def register(
    name: Name,
    invite: Annotated[str | None, typer.Option(help="An invitation code.")] = None,
    setup_code: Annotated[
        str | None, typer.Option(help="What `up` printed, where it listens beyond loopback.")
    ] = None,
) -> None:
    """Make an account; the first one becomes the administrator."""
    password = _new_password(name)
    more = {"invite": invite, "setupCode": setup_code}
    with _client() as client:
        print("doing the proof of work …", file=sys.stderr)
        made = client.register(
            name, password, **{key: value for key, value in more.items() if value}
        )
    role = "administrator" if made.get("isFirstUser") else "member"
    print(f"{name} is registered as {role}")


@app.command()
def show(name: Name) -> None:
    """Show a member's own profile, with the credit, as JSON."""
    with _signed_in(name) as client:
        print(json.dumps(client.get("/api/me"), indent=2))


@app.command()
def upload(
    name: Name,
    torrent: Annotated[Path, typer.Argument(help="A .torrent file.")],
    title: Annotated[str | None, typer.Option(help="Its name on the site.")] = None,
    category: Annotated[str | None, typer.Option(help="Slug of a category.")] = None,
    description: Annotated[str, typer.Option(help="What it is.")] = "",
) -> None:
    """Upload a .torrent as this member; prints its info hash."""
    content = read_torrent(torrent)
    with _signed_in(name) as client:
        fields = {"name": title, "description": description}
        if category:
            fields["categoryId"] = _category(client, category)
        sent = {key: value for key, value in fields.items() if value}
        made = client.upload(content, torrent.name, sent)["data"]
    if made.get("infoHashChanged"):
        print("made private: the info hash changed, seed the downloaded file", file=sys.stderr)
    print(made["infoHash"])


@app.command()
def download(
    name: Name,
    info_hash: Annotated[str, typer.Argument(help="Hash of the torrent, hex.")],
) -> None:
    """Write this member's personal .torrent to standard output."""
    with _signed_in(name) as client:
        content = client.download(info_hash)
    sys.stdout.buffer.write(content)


@app.command()
def grant(
    name: Name,
    role: Annotated[str, typer.Argument(help="`administrator` or `moderator`.")],
    reason: Annotated[str, typer.Option(help="Kept in the history.")] = "granted by the operator",
) -> None:
    """Give a member a role, as the operator: no password is asked for."""
    _as_operator(name, lambda account: GrantRole(account=account, role=role, reason=reason))
    print(f"{name} is {role} now")


@app.command()
def reset_factors(
    name: Name,
    reason: Annotated[str, typer.Option(help="Kept in the history.")] = "lost, reset by operator",
) -> None:
    """Take all second factors from a member who lost them, and end his sessions.

    His password alone signs him in from then on: be sure it is he who asks.
    """
    had = _as_operator(name, lambda account: ResetFactors(account=account, reason=reason))
    print(f"{name} has no second factor any more" if had else f"{name} has no second factor")


@app.command()
def reset_password(name: Name) -> None:
    """Give a member who lost his password, or was imported without one, a new one.

    His sessions end; second factors stay. Be sure it is he who asks.
    """
    password = _new_password(name)
    salt = b64encode(os.urandom(SALT_SIZE)).decode()
    verifier = password_verifier(password, salt, ITERATIONS)
    _as_operator(name, lambda account: ResetPassword(account=account, salt=salt, verifier=verifier))
    print(f"{name} has a new password")


def _as_operator(name: str, command: Callable[[UUID], Any]) -> Any:
    """Dispatch a command about this member as the system; its result. Raises `ApiRefused`."""
    settings = load_settings()
    with connected(settings) as urls, operator(settings_at(settings, urls)) as acting:
        with acting.base.reads.connection() as conn:
            account = find_account_by_name(conn, name)
        if account is None:
            raise ApiRefused(f"There is no member {name}.")
        try:
            return acting.dispatch(command(account.id))
        except DomainError as refusal:
            raise ApiRefused(refusal.text) from None


def _client() -> ApiClient:
    settings = load_settings()
    running = read_run_state(settings.storage.data_dir)
    # Here the port counts, not PUBLIC_URL: that one may lead through a proxy elsewhere.
    port = running.ports["api"] if running else settings.network.api_port
    return ApiClient(f"http://localhost:{port}", operator_token(settings) if running else None)


def _signed_in(name: str) -> ApiClient:
    client = _client()
    client.log_in(name, _password(f"Password of {name}: "))
    return client


def _new_password(name: str) -> str:
    password = _password(f"New password for {name}: ")
    if len(password) < SHORTEST_PASSWORD:
        raise ApiRefused(f"A password has at least {SHORTEST_PASSWORD} characters.")
    return password


def _password(prompt: str) -> str:
    """Asked for at a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    return sys.stdin.readline().rstrip("\n")


def _category(client: ApiClient, slug: str) -> str:
    found = _with_slug(client.get("/api/categories"), slug)
    if found is None:
        raise ApiRefused(f"There is no category {slug}.")
    return str(found["id"])


def _with_slug(categories: list[dict[str, Any]], slug: str) -> dict[str, Any] | None:
    for category in categories:
        if category["slug"] == slug:
            return category
        below = _with_slug(category.get("subcategories") or [], slug)
        if below:
            return below
    return None
