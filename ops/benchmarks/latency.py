"""From sending a POST until a GET shows what it did, over HTTP, on a whole installation."""

from __future__ import annotations

import statistics
import time

import bencodepy
import psycopg

from ops.api_client import ApiClient
from ops.benchmarks.ground import Ground
from ops.benchmarks.installed import running_installation
from ops.benchmarks.report import Figure

PAIRS = 150
WARM_UP = 20
AIM_MS = 25.0


def measure(ground: Ground, runs: int) -> list[Figure]:
    """Upload a torrent, then read its page; the baseline commits one row and reads it back."""
    times: list[float] = []
    raw: list[float] = []
    with running_installation() as client:
        for number in range(WARM_UP + runs * PAIRS):
            pair = _upload_and_read(client, number)
            if number >= WARM_UP:
                times.append(pair)
    with psycopg.connect(ground.urls.owner_url, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA bench")
        conn.execute("CREATE TABLE bench.pages (id int PRIMARY KEY, body bytea)")
        raw = [_insert_and_read(conn, number) for number in range(runs * PAIRS)]
    return [
        _figure("p50", statistics.median(times), statistics.median(raw)),
        _figure("p95", _percentile(times, 95), _percentile(raw, 95), aim=True),
    ]


def _figure(name: str, value: float, baseline: float, *, aim: bool = False) -> Figure:
    return Figure(
        part="latency",
        name=f"POST then GET, {name}",
        value=value,
        unit="ms",
        baseline_name="INSERT then SELECT",
        baseline=baseline,
        aim=f"<= {AIM_MS:.0f} ms" if aim else "",
        aim_met=value <= AIM_MS if aim else None,
    )


def _upload_and_read(client: ApiClient, number: int) -> float:
    info = {b"length": 1000, b"name": b"film %d" % number, b"piece length": 16384}
    content = bencodepy.encode({b"info": {**info, b"pieces": bytes(20), b"private": 1}})
    began = time.perf_counter()
    made = client.upload(content, f"film-{number}.torrent", {"description": "A film."})
    info_hash = made["data"]["infoHash"]
    page = client.get(f"/api/torrents/{info_hash}")
    seconds = time.perf_counter() - began
    if page["infoHash"] != info_hash:
        raise RuntimeError("the page of another torrent was answered")
    return seconds * 1000


def _insert_and_read(conn: psycopg.Connection[tuple[object, ...]], number: int) -> float:
    began = time.perf_counter()
    conn.execute("INSERT INTO bench.pages VALUES (%s, %s)", (number, bytes(365)))
    conn.execute("SELECT body FROM bench.pages WHERE id = %s", (number,)).fetchone()
    return (time.perf_counter() - began) * 1000


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
