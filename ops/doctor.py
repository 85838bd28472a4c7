"""Looks over an installation: each finding says what is so, and what to do about it."""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import redis

from ops.failures import OperatorError
from ops.listening import check_ports
from ops.migrations.server import log_facts, newest_head_at, postgres_facts, trigram_facts
from ops.run_state import Urls, read_run_state
from ops.server_checks import (
    postgres_fault,
    postgres_place,
    probe_client,
    redis_fault,
    redis_place,
    search_fault,
    weak_settings,
)
from ops.settings import Settings
from ops.setup_code import asks_setup_code, find_setup_code
from projections.ledger_figures import ledger_figures

GIGABYTE = 1 << 30
DISK_WARN, DISK_FAIL = 5 * GIGABYTE, GIGABYTE
# Proofs of two-factor codes and the order of ledger records tolerate seconds, not minutes.
CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 2.0, 30.0
CLOCK_HARM = (
    "codes of authenticator apps are refused on one of the two, sessions and bans end too early "
    "or too late, credit is counted for the wrong time"
)
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
MEMORY_WARN_PERCENT = 80
ROWS_WARN = timedelta(days=3)
"""A day is closed an hour after its end; rows older than this tell that nobody does it."""
OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
PRIVATE_FILES = ("*.secret", "*.kek", "*.kek.wrapped", "*.json")


class Level(IntEnum):
    """How bad a finding is; the worst one is the exit code."""

    OK = 0
    WARN = 1
    FAIL = 2


@dataclass(frozen=True)
class Finding:
    """One line of the report; `advice` is empty where nothing is to do."""

    level: Level
    subject: str
    text: str
    advice: str = ""


def examine(settings: Settings, urls: Urls) -> Iterator[Finding]:
    """Every finding, in the order an operator would look; a failing check is itself a finding."""
    data_dir = settings.storage.data_dir
    yield from examine_folder(data_dir, settings.storage.keyring_path)
    yield from examine_disk(data_dir)
    yield from examine_ports(settings)
    yield from examine_postgres(urls)
    yield from examine_search(urls)
    yield from examine_log(urls)
    yield from examine_setup(settings, urls)
    yield from examine_ledger(urls, datetime.now(UTC))
    yield from examine_redis(urls.redis_url)
    yield from examine_kernel()


def examine_folder(data_dir: Path, keyring: Path) -> Iterator[Finding]:
    """Secrets readable by this user alone, and a keyring to open the log with."""
    files = {path for pattern in PRIVATE_FILES for path in data_dir.glob(pattern)}
    if keyring.exists():
        files.add(keyring)
    open_files = sorted(str(path) for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077)
    if open_files:
        yield Finding(
            Level.FAIL,
            "secrets",
            f"others may read {', '.join(open_files)}",
            f"run: chmod 600 {' '.join(open_files)}",
        )
    else:
        yield Finding(Level.OK, "secrets", f"{len(files)} files in {data_dir} are private")
    if not keyring.exists():
        yield Finding(
            Level.WARN,
            "keyring",
            f"{keyring} does not exist yet",
            "it is made at the first start; if there was one, bring it back from the backup now",
        )
    else:
        yield Finding(Level.OK, "keyring", f"{keyring} is there; keep a copy off this machine")


def examine_disk(data_dir: Path) -> Iterator[Finding]:
    usage = shutil.disk_usage(data_dir)
    level = Level.OK
    if usage.free < DISK_WARN:
        level = Level.FAIL if usage.free < DISK_FAIL else Level.WARN
    yield Finding(
        level,
        "disk",
        f"{usage.free / GIGABYTE:.1f} GiB free of {usage.total / GIGABYTE:.0f} GiB at {data_dir}",
        "" if level is Level.OK else "free space or move the data folder; a full disk stops us",
    )


def examine_ports(settings: Settings) -> Iterator[Finding]:
    if read_run_state(settings.storage.data_dir):
        yield Finding(Level.OK, "ports", "in use by the Trackarr that runs here")
        return
    try:
        check_ports(settings.network)
    except OperatorError as failure:
        yield Finding(
            Level.FAIL, "ports", failure.sentence, "stop that program, or change the port"
        )
    else:
        yield Finding(Level.OK, "ports", "free")


def examine_postgres(urls: Urls) -> Iterator[Finding]:
    """Reachable, fit, durable, and its clock."""
    place = postgres_place(urls.app_url)
    try:
        facts = postgres_facts(urls.app_url)
    except psycopg.Error:
        yield Finding(
            Level.FAIL,
            "postgresql",
            f"{place} does not answer, or refuses the login",
            "start the server, or correct DATABASE_URL",
        )
        return
    fault = postgres_fault(facts)
    text = f"version {facts.version} at {place}, login {facts.login}"
    yield Finding(
        Level.FAIL if fault else Level.OK,
        "postgresql",
        fault or f"{text}, {facts.database_size / GIGABYTE:.2f} GiB",
        "give another server or login" if fault else "",
    )
    for name, value in (("fsync", facts.fsync), ("full_page_writes", facts.full_page_writes)):
        if value != "on":
            yield Finding(
                Level.FAIL, "durability", f"PostgreSQL runs with {name} {value}", f"set {name}=on"
            )
    yield _clock("PostgreSQL", facts.clock)
    yield from _signed_ahead(urls)


def examine_search(urls: Urls) -> Iterator[Finding]:
    """The extension searches need, and that it takes Cyrillic letters for letters."""
    try:
        facts = trigram_facts(urls.app_url)
    except psycopg.Error:
        # Said already: the server does not answer, or refuses the login.
        return
    fault, advice = search_fault(facts)
    if fault:
        yield Finding(Level.WARN if facts.available else Level.FAIL, "search", fault, advice)
    elif facts.knows_letters:
        yield Finding(Level.OK, "search", "words in every writing are found by an index")


def examine_log(urls: Urls) -> Iterator[Finding]:
    """Migrated to this version, and safe from the login the processes use."""
    try:
        facts = log_facts(urls.app_url)
    except psycopg.Error:
        yield Finding(
            Level.FAIL,
            "log",
            "this login cannot read the log",
            "run: trackarr migrate (with the owner's DATABASE_URL)",
        )
        return
    if facts is None or facts.migrated_to < facts.newest:
        at = facts.migrated_to if facts else 0
        yield Finding(
            Level.FAIL, "migrations", f"the database is at version {at}", "run: trackarr migrate"
        )
    elif facts.migrated_to > facts.newest:
        yield Finding(
            Level.FAIL,
            "migrations",
            "a newer Trackarr has used this database",
            "start the newer one",
        )
    else:
        yield Finding(Level.OK, "migrations", f"at version {facts.migrated_to}")
    if facts and facts.rewritable:
        yield Finding(
            Level.WARN,
            "log",
            "the processes' login could rewrite the log",
            "give DATABASE_URL a login that may create roles, then run: trackarr migrate",
        )
    elif facts:
        yield Finding(Level.OK, "log", "protected from the login the processes use")


def examine_setup(settings: Settings, urls: Urls) -> Iterator[Finding]:
    """Who may make the first account, while there is none."""
    try:
        facts = log_facts(urls.app_url)
    except psycopg.Error:
        # Said already: the login cannot read the log.
        return
    if facts is not None and facts.begun:
        return
    network = settings.network
    if find_setup_code(settings) is not None:
        yield Finding(
            Level.OK,
            "set-up",
            "the first registration needs the set-up code",
            "to see it, run: trackarr setup-code",
        )
    elif asks_setup_code(settings):
        yield Finding(
            Level.OK,
            "set-up",
            "the first registration will need a set-up code, which the first start makes",
            "once Trackarr has started, run: trackarr setup-code",
        )
    elif urlsplit(network.web_url).hostname not in LOCAL_HOSTS:
        # A proxy on this machine lets strangers in, whatever we listen on.
        yield Finding(
            Level.WARN,
            "set-up",
            f"whoever reaches {network.web_url} first can make the first account",
            "set TRACKARR_SETUP_CODE until you have made it",
        )
    else:
        yield Finding(Level.OK, "set-up", "the first account can be made from this machine")


def examine_ledger(urls: Urls, now: datetime) -> Iterator[Finding]:
    """The size of the peer ledger, and whether its days are closed in time."""
    try:
        with psycopg.connect(urls.app_url, autocommit=True) as conn:
            figures = ledger_figures(conn)
    except psycopg.Error:
        # Said already: the server is away, or not migrated.
        return
    late = figures.oldest_rows is not None and figures.oldest_rows < (now - ROWS_WARN).date()
    text = (
        f"{figures.row_bytes / GIGABYTE:.2f} GiB as rows of {figures.row_days} days,"
        f" {figures.block_bytes / GIGABYTE:.2f} GiB as blocks of {figures.closed_days} days"
    )
    if figures.oldest_day:
        text += f", since {figures.oldest_day}"
    yield Finding(
        Level.WARN if late else Level.OK,
        "ledger",
        f"{text}; {figures.oldest_rows} is not compacted yet" if late else text,
        "start the scheduler, or run: trackarr audit compact" if late else "",
    )


def examine_redis(url: str) -> Iterator[Finding]:
    """Reachable, fit, durable, with memory to spare, and its clock."""
    client = probe_client(url)
    try:
        server = client.info("server")
        memory = client.info("memory")
        weak = weak_settings(client)
        seconds, microseconds = client.time()
    except redis.RedisError:
        yield Finding(
            Level.FAIL,
            "redis",
            f"{redis_place(url)} does not answer, or refuses the login",
            "start the server, or correct REDIS_URL",
        )
        return
    finally:
        client.close()
    fault = redis_fault(server)
    version = server.get("valkey_version") or server["redis_version"]
    yield Finding(
        Level.FAIL if fault else Level.OK,
        "redis",
        fault or f"version {version} at {redis_place(url)}",
        "give another server" if fault else "",
    )
    for weakness in weak:
        yield Finding(
            Level.WARN,
            "redis",
            f"acknowledged announces may be lost: {weakness}",
            "set it so in the server's configuration",
        )
    yield _memory(
        used=int(memory["used_memory"]),
        limit=int(memory["maxmemory"]),
        host=int(memory.get("total_system_memory", 0)),
    )
    yield _clock("Redis", datetime.fromtimestamp(int(seconds) + int(microseconds) / 1e6, UTC))


def examine_kernel(overcommit: Path = OVERCOMMIT) -> Iterator[Finding]:
    """Whether a fork of a large server may be refused (Linux only)."""
    if overcommit.exists() and overcommit.read_text().strip() != "1":
        yield Finding(
            Level.WARN,
            "kernel",
            "vm.overcommit_memory is not 1, so Valkey may fail to rewrite its file when it is large",
            "run: sysctl vm.overcommit_memory=1",
        )


def report(findings: Iterable[Finding], write: Callable[[str], None] = print) -> int:
    """Write a line for each finding; gives 0, 1 or 2 for the worst."""
    worst = Level.OK
    for finding in findings:
        worst = max(worst, finding.level)
        write(f"{finding.level.name.lower():<5} {finding.subject:<11} {finding.text}")
        if finding.advice:
            write(f"{'':<17} -> {finding.advice}")
    return int(worst)


def _signed_ahead(urls: Urls) -> Iterator[Finding]:
    """What a clock that was put back shows where both servers follow it: a head of the future."""
    try:
        newest = newest_head_at(urls.app_url)
    except psycopg.Error:
        # Said below: the login cannot read the log.
        return
    ahead = newest.timestamp() - time.time() if newest else 0.0
    if ahead > CLOCK_FAIL_SECONDS:
        yield Finding(
            Level.FAIL,
            "clock",
            f"the log was signed {ahead:.0f} s in the future of this clock: {CLOCK_HARM}",
            f"let a time service (NTP) set this clock{_likely_cause(ahead)}",
        )


def _memory(*, used: int, limit: int, host: int) -> Finding:
    """Measured against `maxmemory`, or against the host's memory where that is less; bytes."""
    nearest = min((given for given in (limit, host) if given > 0), default=0)
    if nearest == 0:
        return Finding(Level.OK, "memory", f"Redis holds {used >> 20} MiB, without a limit")
    percent = 100 * used // nearest
    level = Level.WARN if percent >= MEMORY_WARN_PERCENT else Level.OK
    advice = "raise maxmemory" if nearest == limit else "give its host more memory"
    whose = "its" if nearest == limit else "its host's"
    return Finding(
        level,
        "memory",
        f"Redis holds {percent} % of {whose} {nearest >> 20} MiB",
        f"{advice}; at the limit announces are refused" if level else "",
    )


def _clock(server: str, clock: datetime) -> Finding:
    apart = clock.timestamp() - time.time()
    if abs(apart) <= CLOCK_WARN_SECONDS:
        return Finding(Level.OK, "clock", f"{server}'s clock is {abs(apart):.1f} s from ours")
    side = "ahead of" if apart > 0 else "behind"
    text = f"{server}'s clock is {abs(apart):.1f} s {side} ours"
    if abs(apart) <= CLOCK_FAIL_SECONDS:
        return Finding(Level.WARN, "clock", text, "let a time service (NTP) set both clocks")
    return Finding(
        Level.FAIL,
        "clock",
        f"{text}: {CLOCK_HARM}",
        f"let a time service (NTP) set both clocks{_likely_cause(apart)}",
    )


def _likely_cause(apart: float) -> str:
    """What a difference of whole or half hours comes from more often than from a bad clock."""
    off = abs(apart) % 1800
    if abs(apart) < 1700 or min(off, 1800 - off) > 60:
        return ""
    return "; so many half hours are mostly a local time that was set as UTC"
