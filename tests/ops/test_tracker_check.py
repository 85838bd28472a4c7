"""`trackarr tracker check` against a running tracker, and against what may be in its place."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ops.doctor import Finding, Level
from ops.tracker_check import check_tracker
from tests.tracker.running_tracker import (
    Feed,
    RunningTracker,
    account,
    general_key,
    info_hash,
    running_tracker,
    torrent,
)
from tracker import wire

KEY = general_key(1)


@pytest.fixture
def feed(redis_url: str) -> Feed:
    feed = Feed(redis_url)
    feed.publish([account(1), account(2, flags=0)], [torrent(10)])
    return feed


@pytest.fixture
def tracker(feed: Feed, redis_url: str) -> Iterator[RunningTracker]:
    with running_tracker(redis_url) as running:
        yield running


def check(url: str, **options: object) -> list[Finding]:
    found = list(check_tracker(url, seconds=2, **options))  # type: ignore[arg-type]
    assert not any(KEY in finding.text + finding.advice for finding in found)
    return found


def worst(found: list[Finding]) -> Level:
    return max(finding.level for finding in found)


def text_of(found: list[Finding], subject: str) -> str:
    return "\n".join(f"{one.text} -> {one.advice}" for one in found if one.subject == subject)


def test_check_announces_and_leaves_again(tracker: RunningTracker, feed: Feed) -> None:
    tracker.announce(KEY, 10, left=1)
    for url, subject in (
        (f"http://127.0.0.1:{tracker.port}/announce/{KEY}", "http IPv4"),
        (f"http://[::1]:{tracker.port}/announce?passkey={KEY}", "http IPv6"),
        (f"udp://127.0.0.1:{tracker.udp_port}/announce/{KEY}", "udp IPv4"),
    ):
        found = check(url, info_hash=info_hash(10), port=6000)
        assert worst(found) == Level.OK
        text = text_of(found, subject)
        assert "1 seeders, 1 leechers" in text
        assert "next announce in " in text
    assert "1 peers listed" in text_of(check(url, info_hash=info_hash(10)), "udp IPv4")
    events = [record.event for record in feed.records()][1:]
    assert events == [wire.EVENT_STARTED, wire.EVENT_STOPPED] * 4
    assert {record.tag for record in feed.records()[1:]} == {b"-TC0100-"}
    assert tracker.announce(KEY, 10, left=1)[b"complete"] == 0


def test_check_without_a_torrent_tries_the_key(tracker: RunningTracker) -> None:
    found = check(f"http://127.0.0.1:{tracker.port}/announce/{KEY}")
    assert worst(found) == Level.OK
    assert "takes the key" in text_of(found, "http IPv4")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/announce", "the URL has no key"),
        (f"/announce/{'0' * 32}", "copy the new announce URL"),
        (f"/announce/{general_key(2)}", "the member of this key is banned"),
    ],
)
def test_check_says_what_to_do_about_a_refusal(
    tracker: RunningTracker, path: str, words: str
) -> None:
    found = check(f"http://127.0.0.1:{tracker.port}{path}")
    assert worst(found) == Level.FAIL
    assert words in text_of(found, "http IPv4")


def test_check_explains_an_unknown_torrent(tracker: RunningTracker) -> None:
    found = check(f"http://127.0.0.1:{tracker.port}/announce/{KEY}", info_hash=b"u" * 20)
    assert worst(found) == Level.FAIL
    assert "not accepted yet" in text_of(found, "http IPv4")


def test_check_tries_both_families(tracker: RunningTracker) -> None:
    """The name has both; a tracker on one of them works, but not for all."""
    found = check(f"http://localhost:{tracker.port}/announce/{KEY}")
    names = {finding.subject for finding in found}
    assert "http IPv4" in names
    if "http IPv6" not in names:
        assert "no IPv6 address" in text_of(found, "families")
    with socket.create_server(("127.0.0.1", 0)) as alone:
        url = f"http://localhost:{alone.getsockname()[1]}/announce/{KEY}"
        with answering(alone, OK_ANSWER):
            found = check(url)
        if "http IPv6" in names:
            assert "connection refused" in text_of(found, "http IPv6")
            assert worst(found) == Level.WARN


ANSWER = b"d8:completei1e10:incompletei2e8:intervali1800e5:peers0:e"
OK_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


@contextmanager
def answering(listener: socket.socket, answer: bytes) -> Iterator[None]:
    """Give every connection this answer."""
    listener.settimeout(0.1)
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(2)
                connection.recv(65536)
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "level", "subject", "words"),
    [
        (OK_ANSWER, Level.OK, "http IPv4", "1 seeders, 2 leechers"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", Level.FAIL, "http IPv4", "status 502"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", Level.FAIL, "http IPv4", "not bencoded"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"l" * 20_000, Level.FAIL, "http IPv4", "not bencoded"),
        (b"SSH-2.0-x\r\n", Level.FAIL, "http IPv4", "connection fails"),
        (b"", Level.FAIL, "http IPv4", "connection fails"),
        (
            OK_ANSWER.replace(b"\r\n\r\n", b"\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\n\r\n"),
            Level.WARN,
            "clock",
            "behind this machine's",
        ),
    ],
)
def test_check_explains_what_is_no_tracker(
    answer: bytes, level: Level, subject: str, words: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, answering(listener, answer):
        found = check(f"http://127.0.0.1:{listener.getsockname()[1]}/announce/{KEY}")
    assert worst(found) == level
    assert words in text_of(found, subject)


def test_check_explains_failing_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, answering(listener, OK_ANSWER):
        found = check(f"https://127.0.0.1:{listener.getsockname()[1]}/announce/{KEY}")
    assert worst(found) == Level.FAIL
    assert "TLS fails" in text_of(found, "https IPv4")


def test_check_explains_silence_and_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        found = list(check_tracker(f"http://127.0.0.1:{port}/announce/x", seconds=0.2))
    assert "firewall" in text_of(found, "http IPv4")
    for scheme in ("http", "udp"):
        found = check(f"{scheme}://127.0.0.1:{port}/announce/x")
        assert "connection refused" in text_of(found, f"{scheme} IPv4")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        found = list(check_tracker(f"udp://127.0.0.1:{port}/announce/x", seconds=0.2))
    assert "No answer within" in text_of(found, "udp IPv4")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/announce", "no tracker URL"),
        ("announce", "no tracker URL"),
        ("udp://host/announce", "no default port"),
        ("http://host:99999/announce", "The port is no number"),
        ("http://host", "no path"),
    ],
)
def test_check_refuses_urls_of_other_kinds(url: str, words: str) -> None:
    (found,) = check(url)
    assert (found.level, found.subject) == (Level.FAIL, "url")
    assert words in found.text


def test_check_explains_a_name_without_address() -> None:
    (found,) = check("http://no-such-name.invalid/announce/x")
    assert (found.level, found.subject) == (Level.FAIL, "dns")


def test_the_program_checks_and_its_exit_code_tells(tracker: RunningTracker) -> None:
    def run(*words: str) -> tuple[int, str]:
        program = [sys.executable, "-m", "ops.cli", "tracker", "check", *words]
        done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    url = f"http://127.0.0.1:{tracker.port}/announce/{KEY}"
    code, text = run(url, "--info-hash", info_hash(10).hex())
    assert (code, KEY in text) == (0, False)
    assert "Announced in" in text
    assert run(f"http://127.0.0.1:{tracker.port}/announce")[0] == 2
    code, text = run(url, "--info-hash", "abc")
    assert code == 2
    assert "40 hex digits" in text
    code, text = run("--help")
    assert code == 0
    assert "--info-hash" in text
