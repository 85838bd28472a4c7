"""Password-blind sign-in and proof of work: challenges given out, answers checked."""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha256
from typing import Protocol
from uuid import UUID, uuid5

import msgspec

from application.ports import Entropy, EventLogPort
from domain.errors import Invalid
from domain.sessions import ChallengeInvalid, CredentialsInvalid
from domain.users import username_claim

ITERATIONS = 600_000
"""PBKDF2-HMAC-SHA256 rounds a client runs; the server never sees the password."""
CHALLENGE_LIFE = 300
"""Seconds a challenge can be answered (behaviour of the reference)."""
VERIFIER_KIND = "password"
VERIFIER_ID = "current"
_SIZE = 32
_NOBODY = UUID("0f6b8f52-53a5-5c55-9f2b-3d4c1f0a9b77")


class Challenges(Protocol):
    """Values that can be taken once, within `CHALLENGE_LIFE` seconds.

    Both raise `Unavailable` when the store of challenges is away.
    """

    def put(self, kind: str, challenge: str, value: bytes) -> None: ...

    def take(self, kind: str, challenge: str) -> bytes | None: ...


class ProofOfWorkInvalid(Invalid):
    """The work was not done, not for this challenge, or done before."""

    code = "proof_of_work_invalid"
    message = "Invalid or expired proof of work. Please try again."


class Verifier(msgspec.Struct, frozen=True, kw_only=True):
    """What the vault keeps of a password: it lets nobody compute the password, but signs in.

    `changes` counts the passwords the account had before this one.
    """

    salt: str
    verifier: str
    iterations: int = ITERATIONS
    changes: int = 0


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """Whose password was proven, and how often that one had been changed before."""

    account: UUID
    password_changes: int


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Work to do: find a nonce so that SHA-256(`challenge:nonce`) begins with zero hex digits."""

    challenge: str
    difficulty: int
    iterations: int = ITERATIONS


class LoginChallenge(msgspec.Struct, frozen=True, kw_only=True):
    """What a client needs to prove it knows the password of an account."""

    salt: str
    challenge: str
    iterations: int


class _Asked(msgspec.Struct, frozen=True):
    name: str


def proof_of(verifier: str, challenge: str) -> str:
    """Lower-case hex of SHA-256 over the two texts put together, not over decoded bytes."""
    return sha256((verifier + challenge).encode()).hexdigest()


def is_work_done(challenge: str, nonce: str, digest: str, *, difficulty: int) -> bool:
    """Whether `digest` is the hash of this challenge and nonce, and begins with enough zeros."""
    computed = sha256(f"{challenge}:{nonce}".encode()).hexdigest()
    right = hmac.compare_digest(computed.encode(), digest.encode())
    return right and computed.startswith("0" * difficulty)


class PasswordProofs:
    """Issues challenges and checks the answers.

    `decoy_key` (32 bytes) makes salts and verifiers for names nobody has: the same at each
    call, so that asking twice tells nothing. `difficulty` is zero hex digits.
    """

    def __init__(
        self,
        log: EventLogPort,
        challenges: Challenges,
        entropy: Entropy,
        *,
        decoy_key: bytes,
        difficulty: int,
    ) -> None:
        self._log = log
        self._challenges = challenges
        self._entropy = entropy
        self._decoy_key = decoy_key
        self._difficulty = difficulty

    def issue_work(self) -> Work:
        challenge = self._entropy.token(_SIZE).hex()
        self._challenges.put("pow", challenge, str(self._difficulty).encode())
        return Work(challenge=challenge, difficulty=self._difficulty)

    def redeem_work(self, challenge: str, nonce: str, digest: str) -> None:
        """Spend a challenge, whatever the answer. Raises `ProofOfWorkInvalid`."""
        issued = self._challenges.take("pow", challenge)
        if issued is None or not is_work_done(challenge, nonce, digest, difficulty=int(issued)):
            raise ProofOfWorkInvalid()

    def issue_challenge(self, username: str) -> LoginChallenge:
        """A challenge for whoever claims to be `username`, known or not."""
        _account, verifier = self._look_up(username)
        challenge = self._entropy.token(_SIZE).hex()
        asked = msgspec.json.encode(_Asked(username.casefold()))
        self._challenges.put("login", challenge, asked)
        return LoginChallenge(
            salt=verifier.salt, challenge=challenge, iterations=verifier.iterations
        )

    def check(self, username: str, challenge: str, proof: str) -> Proven:
        """The account whose password was proven. The challenge is spent, whatever the answer.

        Raises `ChallengeInvalid`, `CredentialsInvalid`. An unknown name costs the same work
        and gives the same answer as a wrong proof.
        """
        asked = self._challenges.take("login", challenge)
        if asked is None:
            raise ChallengeInvalid()
        account, verifier = self._look_up(username)
        expected = proof_of(verifier.verifier, challenge)
        right = hmac.compare_digest(expected.encode(), proof.encode())
        same_name = msgspec.json.decode(asked, type=_Asked).name == username.casefold()
        if not (right and same_name) or account is None:
            raise CredentialsInvalid()
        return Proven(account=account, password_changes=verifier.changes)

    def _look_up(self, username: str) -> tuple[UUID | None, Verifier]:
        """The account of that name and its verifier, or nobody and a steady decoy."""
        decoy = Verifier(
            salt=self._decoy("salt", username), verifier=self._decoy("verifier", username)
        )
        account = self._log.claim_owner(username_claim(username))
        kept = self._log.vault_get(
            VERIFIER_KIND, account or uuid5(_NOBODY, username.casefold()), VERIFIER_ID
        )
        if account is None or kept is None:
            return None, decoy
        return account, msgspec.json.decode(kept, type=Verifier)

    def _decoy(self, purpose: str, username: str) -> str:
        told = f"{purpose}:{username.casefold()}".encode()
        return b64encode(hmac.digest(self._decoy_key, told, sha256)).decode()
