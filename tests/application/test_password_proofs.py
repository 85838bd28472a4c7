"""Password-blind proofs and proof of work: vectors of the fact sheets, and single use."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import pbkdf2_hmac
from uuid import uuid4

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from application.password_proofs import (
    CHALLENGE_LIFE,
    PasswordProofs,
    ProofOfWorkInvalid,
    is_work_done,
    proof_of,
)
from application.store.challenges import RedisChallenges
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from domain.errors import Unavailable
from domain.sessions import ChallengeInvalid, CredentialsInvalid
from tests.kit.api import SystemEntropy
from tests.kit.browser import proof_for, solve, verifier_of

SALT = b64encode(bytes(range(32))).decode()
CHALLENGE = "ab" * 32
DECOY_KEY = bytes(32)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.fixture
def proofs(app_url: str, redis: Redis) -> Iterator[PasswordProofs]:
    log = EventLog(app_url, Keyring.generate(), registry())
    yield proofs_on(log, redis)
    log.close()


def proofs_on(log: EventLog, redis: Redis, *, decoy_key: bytes = DECOY_KEY) -> PasswordProofs:
    return PasswordProofs(
        log, RedisChallenges(redis), SystemEntropy(), decoy_key=decoy_key, difficulty=2
    )


@pytest.mark.parametrize(
    ("iterations", "master", "verifier", "proof"),
    [
        (
            100_000,
            "591bb6d58628b7a5eee11ab149704a7e545d09507b9178b64df0fff375cf812f",
            "qA9fDc3MyY1v+pg6taema13ku3K3WkKQMCNtbrcblsA=",
            "a7607a218311087321705831881347f6c40324db9b3d104c06ec3c4c5b89b131",
        ),
        (
            600_000,
            "0f997a04052e374838c4e6ea3f98cf9dd6d6d79a5321d57c0629c092ce285d89",
            "dUkizfYj1YCwg6N8RLBoR/4GrJC96zGN9S6H55GiyZk=",
            "4a18d3e78821ac46d5a5304794a68394ea09014f87c15b1f008c5ccadb07f46e",
        ),
    ],
)
def test_proof_of_matches_the_vectors_of_both_sheets(
    iterations: int, master: str, verifier: str, proof: str
) -> None:
    password = "correct horse battery"
    assert pbkdf2_hmac("sha256", password.encode(), bytes(range(32)), iterations).hex() == master
    assert verifier_of(password, SALT, iterations) == verifier
    assert proof_of(verifier, CHALLENGE) == proof == proof_for(verifier, CHALLENGE)


def test_is_work_done_matches_the_vector_of_the_sheet() -> None:
    nonce, digest = "3225653", "00000aeec505f2b2a4471f991d3ef98a005df7ace7aafe4a4b53339d1429ca11"
    assert is_work_done(CHALLENGE, nonce, digest, difficulty=5)
    assert not is_work_done(CHALLENGE, nonce, digest, difficulty=6)
    assert not is_work_done(CHALLENGE, "3225654", digest, difficulty=5)
    assert not is_work_done("cd" * 32, nonce, digest, difficulty=5)
    assert not is_work_done(CHALLENGE, nonce, "0" * 64, difficulty=5)


def test_redeem_work_takes_a_solution_once(proofs: PasswordProofs) -> None:
    work = proofs.issue_work()
    solved = solve(work.challenge, work.difficulty)
    proofs.redeem_work(solved["challenge"], solved["nonce"], solved["hash"])
    with pytest.raises(ProofOfWorkInvalid):
        proofs.redeem_work(solved["challenge"], solved["nonce"], solved["hash"])


def test_redeem_work_spends_the_challenge_on_a_wrong_solution(proofs: PasswordProofs) -> None:
    work = proofs.issue_work()
    solved = solve(work.challenge, work.difficulty)
    with pytest.raises(ProofOfWorkInvalid):
        proofs.redeem_work(solved["challenge"], "no nonce", solved["hash"])
    with pytest.raises(ProofOfWorkInvalid):
        proofs.redeem_work(solved["challenge"], solved["nonce"], solved["hash"])


def test_redeem_work_refuses_work_we_never_asked_for(proofs: PasswordProofs) -> None:
    for challenge in ("ab" * 32, "x" * 5000):
        solved = solve(challenge, 2)
        with pytest.raises(ProofOfWorkInvalid):
            proofs.redeem_work(challenge, solved["nonce"], solved["hash"])


def test_an_unknown_name_has_a_steady_salt_of_its_own(app_url: str, redis: Redis) -> None:
    log = EventLog(app_url, Keyring.generate(), registry())
    proofs = proofs_on(log, redis)
    first, again = proofs.issue_challenge("nobody"), proofs.issue_challenge("NoBody")
    assert first.salt == again.salt
    assert first.challenge != again.challenge
    assert first.iterations == 600_000
    assert len(first.salt) == 44
    assert proofs.issue_challenge("someone").salt != first.salt
    assert proofs_on(log, redis, decoy_key=b"k" * 32).issue_challenge("nobody").salt != first.salt
    log.close()


def test_check_refuses_an_unknown_name_even_with_its_decoy_verifier(
    proofs: PasswordProofs,
) -> None:
    asked = proofs.issue_challenge("nobody")
    decoy = proofs._decoy("verifier", "nobody")
    with pytest.raises(CredentialsInvalid):
        proofs.check("nobody", asked.challenge, proof_of(decoy, asked.challenge))
    with pytest.raises(ChallengeInvalid):
        proofs.check("nobody", asked.challenge, proof_of(decoy, asked.challenge))


def test_challenges_end_after_five_minutes(proofs: PasswordProofs, redis: Redis) -> None:
    proofs.issue_work()
    proofs.issue_challenge("nobody")
    lives = [redis.ttl(key) for key in redis.keys("challenge:*")]
    assert len(lives) == 2
    assert all(CHALLENGE_LIFE - 5 <= life <= CHALLENGE_LIFE for life in lives)


def test_challenges_are_unavailable_while_redis_is_away() -> None:
    with Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0)) as away:
        challenges = RedisChallenges(away)
        with pytest.raises(Unavailable):
            challenges.put("pow", uuid4().hex, b"")
        with pytest.raises(Unavailable):
            challenges.take("pow", uuid4().hex)


def test_challenges_read_text_from_a_client_that_decodes(redis_url: str) -> None:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        challenges = RedisChallenges(client)
        challenges.put("pow", "c", b"5")
        assert challenges.take("pow", "c") == b"5"
        assert challenges.take("pow", "c") is None
