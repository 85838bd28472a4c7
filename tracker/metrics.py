"""Prometheus metrics of a tracker: made from plain counters when somebody asks."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from tracker.counters import CONNECT, KINDS, SCRAPE, UNREAD, Counters
from tracker.forwarded_frames import KIND_METRICS
from tracker.forwarding import Forwarder
from tracker.histogram import Histogram
from tracker.protocol.refusals import Refusal
from tracker.proxies import TrustedProxies
from tracker.wire import (
    EVENT_COMPLETED,
    EVENT_NONE,
    EVENT_STARTED,
    EVENT_STOPPED,
    PROTOCOL_HTTP,
    PROTOCOL_UDP,
)

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_LOOPBACK_V4: Final = 127
_LOOPBACK_V6: Final = bytes(15) + b"\x01"
_PROTOCOLS: Final = {0: "shard", PROTOCOL_HTTP: "http", PROTOCOL_UDP: "udp"}
_KINDS: Final = {
    EVENT_NONE: "none",
    EVENT_COMPLETED: "completed",
    EVENT_STARTED: "started",
    EVENT_STOPPED: "stopped",
    SCRAPE: "scrape",
    CONNECT: "connect",
    UNREAD: "unread",
}
_COUNTED: Final = {
    "late": "Announces with older totals than were known.",
    "expired": "Peers dropped as they fell silent.",
    "replaced": "Peers that gave their seat to another client of the same member.",
    "connections": "Connections accepted.",
    "connections_refused": "Connections closed at once: too many, or too many of one address.",
    "bad_requests": "Requests that were no request we can read.",
    "datagrams": "Datagrams received.",
    "datagrams_ignored": "Datagrams that were no request.",
    "datagrams_unsent": "Answers the kernel did not take.",
    "batches": "Batches written to the event stream.",
    "batches_resent": "Batches sent again after a lost connection.",
    "records": "Peer records written to the event stream.",
    "forwarded": "Requests handed to the shard that owns their torrent.",
    "answers_refused": "Announces whose record Redis did not acknowledge in time.",
}
Gauges = Callable[[], Mapping[str, tuple[float, str]]]
"""Values of the moment by name, each with a sentence that explains it."""


class MetricsAccess:
    """Who may read metrics: this machine and our proxies, or where a token is set, its bearers."""

    def __init__(self, proxies: TrustedProxies, token: bytes | None = None) -> None:
        self._proxies = proxies
        self._token = token

    def allows(self, client: bytes | None, authorization: bytes) -> bool:
        """Whether a client at this address, with this Authorization header, may read them."""
        if self._token is not None:
            scheme, _, given = authorization.partition(b" ")
            return scheme.lower() == b"bearer" and hmac.compare_digest(given, self._token)
        if client is None:
            return False
        is_loopback = client == _LOOPBACK_V6 or (len(client) == 4 and client[0] == _LOOPBACK_V4)
        return is_loopback or self._proxies.trusts(client)


class TrackerMetrics:
    """One shard's metrics; every sample carries its number. No label holds request contents."""

    def __init__(self, counters: Counters, gauges: Gauges, shard: int) -> None:
        self._counters = counters
        self._gauges = gauges
        self._shard = str(shard)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time, so that registering reads no counters."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All families, for the registry."""
        yield self._requests()
        for name, meaning in _COUNTED.items():
            family = CounterMetricFamily(f"trackarr_tracker_{name}", meaning, labels=["shard"])
            family.add_metric([self._shard], getattr(self._counters, name))
            yield family
        for name, (value, meaning) in self._gauges().items():
            gauge = GaugeMetricFamily(f"trackarr_tracker_{name}", meaning, labels=["shard"])
            gauge.add_metric([self._shard], value)
            yield gauge
        yield self._histogram(
            "answer_seconds",
            "Time from the first request of a batch until Redis acknowledged it, for each answer.",
            self._counters.latency,
        )
        yield self._histogram("batch_records", "Records of a batch.", self._counters.batch_sizes)

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "trackarr_tracker_requests",
            "Requests by protocol, event (or kind) and outcome: answered, or why it was refused.",
            labels=["shard", "protocol", "event", "outcome"],
        )
        for place, count in enumerate(self._counters.answered):
            protocol, kind = divmod(place, KINDS)
            if count:
                labels = [self._shard, _PROTOCOLS[protocol], _KINDS[kind], "answered"]
                family.add_metric(labels, count)
        for (code, protocol, kind), count in self._counters.refusals.items():
            family.add_metric([self._shard, _PROTOCOLS[protocol], _KINDS[kind], code], count)
        return family

    def _histogram(self, name: str, meaning: str, values: Histogram) -> Metric:
        family = HistogramMetricFamily(f"trackarr_tracker_{name}", meaning, labels=["shard"])
        family.add_metric([self._shard], list(values.cumulated()), values.total)
        return family


class MetricsReader(Protocol):
    """Who asked for the metrics."""

    def answer(self, body: bytes, content_type: bytes) -> None:
        """Send them."""
        ...

    def wait(self) -> None:
        """Take no further request until they are there."""
        ...


class MetricsPage:
    """The metrics of all shards of this host, whichever was asked; those that are away miss."""

    def __init__(self, metrics: TrackerMetrics, forwarder: Forwarder | None) -> None:
        self._metrics = metrics
        self._forwarder = forwarder

    def serve(self, reader: MetricsReader) -> None:
        """Answer now, or once the other shards have."""
        reader.wait()
        gathering = _Gathering(reader, self._metrics.render())
        if self._forwarder is not None:
            gathering.missing += self._forwarder.ask_all(KIND_METRICS, gathering)
        gathering.relay(b"")


class _Gathering:
    """One reader's metrics while other shards are asked."""

    __slots__ = ("_reader", "_texts", "missing")

    def __init__(self, reader: MetricsReader, own: bytes) -> None:
        self._reader = reader
        self._texts = [own]
        # Our own part of it, so that nothing is sent before all were asked.
        self.missing = 1

    def relay(self, body: bytes) -> None:
        """One shard's text has come."""
        self._texts.append(body)
        self.missing -= 1
        if not self.missing:
            self._reader.answer(merge_metrics(self._texts), CONTENT_TYPE)

    def turn_down(self, _refusal: Refusal) -> None:
        """One shard went away."""
        self.relay(b"")


def merge_metrics(texts: Iterable[bytes]) -> bytes:
    """The expositions of several shards as one: samples of a family have to stand together."""
    merged: dict[bytes, list[bytes]] = {}
    for text in texts:
        for block in text.split(b"# HELP ")[1:]:
            lines = block.splitlines(keepends=True)
            known = merged.setdefault(lines[0].split(b" ")[0], lines[:2])
            known += [line for line in lines[1:] if not line.startswith(b"# ")]
    return b"".join(b"# HELP " + b"".join(lines) for lines in merged.values())
