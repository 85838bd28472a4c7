"""A member of a running site, whose every secret is planted: joined, signed in, failed, announced."""

from __future__ import annotations

import time
from base64 import b32decode, b64decode, urlsafe_b64decode
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes
from uuid import UUID

import httpx
import msgspec
import psycopg
import pyotp
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from httpx2 import Response

from tests.e2e.conftest import Site
from tests.kit.authenticator import Authenticator
from tests.kit.browser import proof_for, salt_of, verifier_of
from tests.kit.canaries import Canary, canary, dumped, found
from tests.kit.installation import Installation
from tests.kit.remote import RemoteBrowser, download, eventually
from tests.kit.torrent_maker import make_content
from tests.tracker.udp_client import UdpClient, announce_packet, url_options

PASSWORD = "canary password of vera"
ADDRESS = "2001:db8:ca7a:11e5::77"
"""Where the member comes from, as the proxy in front says."""
ADDRESS_MAY_STAND = ("presence:places", "peer-events")
"""Keys of Redis that hold addresses until they are sealed or hashed (design: raw there only)."""
ME_2FA = "/api/me/2fa"
NIL = UUID(int=0)
REDIS_FILES = "valkey"
"""Folder of the files of Redis, in which addresses may stand as they may in Redis."""


@dataclass
class Story:
    """What happened on the site: the secrets in it, and every answer that was an error."""

    site: Site
    account: UUID = NIL
    canaries: list[Canary] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    browsers: list[RemoteBrowser] = field(default_factory=list)
    files: dict[str, set[str]] = field(default_factory=dict)
    """What stands in which file, looked for before any test plants something itself."""
    bytes_of_files: int = 0

    def browser(self) -> RemoteBrowser:
        """A new caller behind the proxy, from the planted address."""
        made = RemoteBrowser(self.installation.url)
        made.client.headers["X-Forwarded-For"] = ADDRESS
        self.browsers.append(made)
        return made

    def close(self) -> None:
        for browser in self.browsers:
            browser.close()

    @property
    def installation(self) -> Installation:
        return self.site.installation

    @property
    def urls(self) -> dict[str, str]:
        urls: dict[str, str] = self.installation.run_state["urls"]
        return urls

    def tables(self) -> dict[str, bytes]:
        """Every table by name: the record is its owner's, the read models are the processes'."""
        return dict(dumped(self.urls["owner_url"], self.urls["app_url"]))


def tell(story: Story, folder: Path) -> None:
    """Vera joins by invitation, sets up every factor, uses and misuses each, and announces."""
    admin = story.site.admin
    assert admin.put("/api/admin/settings", json={"inviteEnabled": True}).status_code == 200
    key = {"Idempotency-Key": "canary-invitation"}
    code = admin.post("/api/invites", json={}, headers=key).json()["invite"]["code"]
    unused = admin.post("/api/invites", json={}).json()["invite"]["code"]
    _plant(story, "invitation code", code)
    _plant(story, "unused invitation code", unused)
    _plant(story, "address", ADDRESS, bytes.fromhex("20010db8ca7a11e50000000000000077"))
    vera = story.browser()
    joined = vera.post(
        "/api/auth/register",
        json=vera.registration("vera", PASSWORD, invite=code),
        headers={"Idempotency-Key": "canary-registration"},
    )
    assert joined.status_code == 200, joined.text
    story.account = UUID(vera.get("/api/me").json()["id"])
    _plant_password(story)
    _plant_cookies(story, vera)
    app, codes = _set_up_factors(story, vera)
    _sign_in_by_every_way(story, app, codes)
    _announce(story, vera, folder)
    _misuse(story, vera)
    _drop_connections(story)
    _look_through_files(story)


def _plant(story: Story, name: str, *spellings: str | bytes) -> None:
    story.canaries.append(canary(name, *spellings))


def _plant_password(story: Story) -> None:
    verifier = verifier_of(PASSWORD, salt_of("vera"), 600_000)
    _plant(story, "password", PASSWORD)
    _plant(story, "verifier", verifier, b64decode(verifier))


def _plant_cookies(story: Story, browser: RemoteBrowser) -> None:
    for cookie in browser.client.cookies.jar:
        value = str(cookie.value)
        raw = urlsafe_b64decode(value + "=" * (-len(value) % 4))
        _plant(story, f"cookie {cookie.name}", value, raw)


def _set_up_factors(story: Story, vera: RemoteBrowser) -> tuple[pyotp.TOTP, list[str]]:
    made = vera.post(f"{ME_2FA}/totp/setup").json()
    app, codes = pyotp.TOTP(made["secret"]), made["recoveryCodes"]
    _plant(story, "authenticator secret", made["secret"], b32decode(made["secret"]))
    for number, code in enumerate(codes):
        plain = code.replace("-", "")
        _plant(story, f"recovery code {number}", code, plain, plain.lower())
    _answered(story, vera.post(f"{ME_2FA}/totp/enable", json={"code": "000000"}))
    assert vera.post(f"{ME_2FA}/totp/enable", json={"code": app.now()}).status_code == 200
    return app, codes


def _key(story: Story, vera: RemoteBrowser) -> Authenticator:
    key = Authenticator(origin=story.installation.url, rp_id="localhost")
    options = vera.post(f"{ME_2FA}/passkey/register-challenge").json()
    made = vera.post(
        f"{ME_2FA}/passkey/register-verify", json={"name": "k", "response": key.create(options)}
    )
    assert made.status_code == 200, made.text
    whole = key.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    number = key.key.private_numbers().private_value.to_bytes(32, "big")
    _plant(story, "security key", whole, number)
    return key


def _sign_in_by_every_way(story: Story, app: pyotp.TOTP, codes: list[str]) -> None:
    """By code, by recovery code and by key, each also wrongly first."""
    # The code of the step ahead: the one of now enabled the authenticator.
    right: list[dict[str, Any]] = [{"code": app.at(time.time() + 30)}, {"recoveryCode": codes[0]}]
    for body in right:
        browser = _half(story)
        for wrong in ({"code": "000001"}, {"recoveryCode": "ABCD-EFGHJK"}):
            _answered(story, browser.post("/api/auth/2fa/verify-totp", json=wrong))
        passed = browser.post("/api/auth/2fa/verify-totp", json={**body, "trust_device": True})
        assert passed.status_code == 200, passed.text
        _plant_cookies(story, browser)
    key = _key(story, browser)
    for rp_id, status in (("evil.test", 401), ("localhost", 200)):
        key.rp_id = rp_id
        options = browser.get("/api/auth/passkey").json()
        reply = _answered(
            story, browser.post("/api/auth/passkey", json={"response": key.get(options)})
        )
        assert reply.status_code == status, reply.text
    _plant_cookies(story, browser)
    again = browser.post(f"{ME_2FA}/recovery-codes/regenerate", json={"code": "000002"})
    _answered(story, again)


def _half(story: Story) -> RemoteBrowser:
    """A browser after the password, with the wrong one shown before."""
    browser = story.browser()
    wrong = browser.login_body("vera", "another password")
    _answered(story, browser.post("/api/auth/login", json=wrong))
    body = browser.login_body("vera", PASSWORD)
    _plant(story, "proof", body["proof"], bytes.fromhex(body["proof"]))
    reply = browser.post("/api/auth/login", json=body)
    assert reply.json()["requires2FA"] is True
    _plant(story, "half session", reply.json()["challengeToken"])
    _plant_cookies(story, browser)
    return browser


def _announce(story: Story, vera: RemoteBrowser, folder: Path) -> None:
    """With the general key over HTTP and UDP, with the one of a file, and with spoilt ones."""
    content = make_content(folder / "content", "canary.bin", 100_000)
    info_hash = story.site.upload(content)
    file = download(vera, info_hash)
    own = file.split(b"/announce/", 1)[1][:32].decode()
    general = vera.get("/api/auth/passkey").json()["passkey"]
    for name, key in (("announce key", general), ("announce key of a file", own)):
        # The first four bytes are the account's number, which is no secret.
        _plant(story, name, key, key[8:], bytes.fromhex(key)[4:])
    tracker = f"http://127.0.0.1:{story.installation.tracker_port}"
    hashed = quote_from_bytes(bytes.fromhex(info_hash))
    numbers = "port=6881&uploaded=0&downloaded=0&left=100&compact=1&event=started"
    query = f"info_hash={hashed}&peer_id=-TR3000-canaries0001&{numbers}"
    forwarded = {"X-Forwarded-For": ADDRESS}

    def refused(key: str) -> bool:
        return (
            b"failure" in httpx.get(f"{tracker}/announce/{key}?{query}", headers=forwarded).content
        )

    for key in (general, own):
        eventually(partial(refused, key), False)
        for path in (
            f"/announce?passkey={key}&{query}",
            f"/{key}/announce?{query}",
            f"/announce/{key}x?{query}",
            f"/announce/{key}?info_hash=short",
            f"/scrape/{key}?info_hash={hashed}",
            f"/{key}",
            f"/announce/{key}?{'a' * 6000}",
        ):
            reply = httpx.get(tracker + path, headers=forwarded)
            story.errors.append(reply.content.decode("latin-1"))
    with UdpClient(story.installation.udp_port) as client:
        for key in (general, own, f"x{general[1:]}"):
            head = announce_packet(
                client.connect(), bytes.fromhex(info_hash), b"-LT2100-canaries0002"
            )
            story.errors.append(client.ask(head + url_options(f"/announce/{key}".encode())).hex())
    for key in (general, own):
        # In a query no answer of the API repeats it. An unknown path is told to its caller as he
        # wrote it, so those answers are left out; what is logged of them is looked through.
        _refused(story, vera.get("/api/torrents", params={"passkey": key, "limit": key}))
        _refused(story, vera.get(f"/nothing?passkey={key}"))
        for path in (f"/api/torrents/{key}", f"/rss/{key}", f"/api/users/{key}"):
            assert vera.get(path).status_code in {400, 404}
    rotated = vera.post("/api/auth/passkey", json={"confirm": True})
    new = rotated.json()["passkey"]
    _plant(story, "rotated announce key", new, new[8:], bytes.fromhex(new)[4:])


def _misuse(story: Story, vera: RemoteBrowser) -> None:
    """Secrets in every place they do not belong, and bodies broken around them."""
    salt = salt_of("vera")
    verifier = verifier_of(PASSWORD, salt, 600_000)
    cookie = str(vera.cookie)
    challenge = "c" * 64
    proof = proof_for(verifier, challenge)
    _plant(story, "proof for a made-up challenge", proof, bytes.fromhex(proof))
    work = {"challenge": challenge, "nonce": "1", "hash": "0" * 64}
    bodies: list[tuple[str, Any]] = [
        ("/api/auth/login", {"username": verifier, "challenge": challenge, "proof": proof}),
        ("/api/auth/login", {"username": "vera", "challenge": proof + "x", "proof": verifier}),
        ("/api/auth/login", {"username": "vera", "challenge": challenge, "proof": proof}),
        ("/api/auth/login", {"username": {"a": verifier}, "challenge": [proof], "proof": 1}),
        ("/api/auth/login", [verifier, proof, PASSWORD]),
        ("/api/auth/login", {PASSWORD: verifier, proof: cookie}),
        ("/api/auth/register", {"username": PASSWORD, "salt": verifier[:20], "verifier": verifier}),
        (
            "/api/auth/register",
            {
                "username": "late",
                "salt": salt,
                "verifier": verifier,
                "pow": work,
                "invite": "x" * 32,
            },
        ),
        ("/api/auth/2fa/verify-totp", {"code": verifier, "challengeToken": cookie}),
        (
            "/api/auth/passkey",
            {"response": {"id": verifier, "response": {"clientDataJSON": proof}}},
        ),
        ("/api/invites", {"expiresInDays": verifier}),
        ("/api/reports", {"targetType": verifier, "targetId": cookie, "reason": ""}),
    ]
    for path, body in bodies:
        _refused(story, vera.post(path, json=body))
        broken = msgspec.json.encode(body)[:-1]
        headers = {"content-type": "application/json"}
        _refused(story, vera.post(path, content=broken, headers=headers))
    change = {"challenge": challenge, "currentProof": proof, "newSalt": "", "newVerifier": verifier}
    _refused(story, vera.put("/api/auth/password", json=change))
    # In a header, as a client that mixed up its fields sends them.
    for name in ("Authorization", "X-Api-Key", "Referer", "User-Agent", "Idempotency-Key"):
        _answered(
            story, vera.post("/api/invites", json={"expiresInDays": 0}, headers={name: cookie})
        )
    stranger = story.browser()
    stranger.client.cookies.set("trackarr-session", cookie[:-2])
    _refused(story, stranger.get("/api/me"))


def _drop_connections(story: Story) -> None:
    """The database hangs up in the middle of sign-ins, so that faults of ours are logged."""
    browser = story.browser()
    with psycopg.connect(story.urls["app_url"], autocommit=True) as conn:
        for _ in range(5):
            body = browser.login_body("vera", PASSWORD)
            _plant(story, "proof", body["proof"], bytes.fromhex(body["proof"]))
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = current_user AND pid <> pg_backend_pid()"
            )
            _answered(story, browser.post("/api/auth/login", json=body))
            eventually(lambda: browser.get("/api/health").status_code, 200)


def _look_through_files(story: Story) -> None:
    folder = story.installation.folder
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        story.bytes_of_files += len(content)
        hit = found(story.canaries, content)
        if path.is_relative_to(folder / REDIS_FILES):
            hit.discard("address")
        if hit:
            story.files[str(path.relative_to(folder))] = hit


def _answered(story: Story, reply: Response) -> Response:
    if reply.status_code >= 400:
        story.errors.append(reply.text)
    return reply


def _refused(story: Story, reply: Response) -> None:
    assert 400 <= reply.status_code < 500, reply.text
    _answered(story, reply)
