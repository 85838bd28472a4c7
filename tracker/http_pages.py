"""What the announce port answers besides announces: scrapes, health and metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

from tracker.counters import SCRAPE, Counters
from tracker.metrics import MetricsAccess, MetricsPage
from tracker.protocol.bencode import write_failure
from tracker.protocol.http_requests import RequestHead, find_header
from tracker.protocol.refusals import Refusal, address_unknown
from tracker.protocol.scrape import Figures, parse_scrape, write_scrape
from tracker.rules import Rules
from tracker.scrapes import Scrapes
from tracker.wire import PROTOCOL_HTTP

_SCRAPE = b"/scrape"
_JSON = b"application/json"
_RELAYED = (b"x-forwarded-for", b"forwarded", b"via")


class Asker(Protocol):
    """A connection whose request is being answered."""

    @property
    def client(self) -> bytes | None:
        """The client's address; None where a proxy does not say it."""
        ...

    def answer(self, body: bytes, content_type: bytes = b"text/plain") -> None:
        """Send a 200."""
        ...

    def fail(self, status: int, body: bytes = b"", content_type: bytes = b"text/plain") -> None:
        """Send another status and end the connection."""
        ...

    def wait(self) -> None:
        """Take no further request until the answer is there."""
        ...


class HttpPages:
    """Everything that is asked for seldom, so that the announce path stays short."""

    def __init__(
        self,
        *,
        scrapes: Scrapes,
        health: Callable[[], dict[str, object]],
        metrics: MetricsPage,
        metrics_access: MetricsAccess,
        rules: Callable[[], Rules],
        counters: Counters,
    ) -> None:
        """`health` gives the fields of /health; a false `ok` among them makes it a 503."""
        self._scrapes = scrapes
        self._health = health
        self._metrics = metrics
        self._metrics_access = metrics_access
        self._rules = rules
        self._counters = counters

    def serve(self, asker: Asker, head: RequestHead, raw: bytes) -> None:
        """Answer a request whose path is no announce; `raw` is its head as received."""
        path = head.path
        if path.startswith(_SCRAPE) and path[7:8] in {b"", b"/"}:
            self._scrape(asker, head)
        elif path == b"/health":
            fields = self._health()
            body = json.dumps(fields).encode("ascii")
            if fields.get("ok"):
                asker.answer(body, _JSON)
            else:
                asker.fail(503, body, _JSON)
        elif path == b"/metrics":
            # What somebody passes on for others is not from this machine, whatever it looks like.
            relayed = any(find_header(raw, name) for name in _RELAYED)
            client = None if relayed else asker.client
            if self._metrics_access.allows(client, find_header(raw, b"authorization")):
                self._metrics.serve(asker)
            else:
                asker.fail(403)
        else:
            asker.fail(404)

    def _scrape(self, asker: Asker, head: RequestHead) -> None:
        answer = _ScrapeAnswer(asker, self._rules().min_interval, self._counters)
        try:
            request = parse_scrape(head.query)
            passkey = head.path[8:]
            if passkey and request.passkey:
                raise Refusal("passkey_twice", "Passkey given twice")
            if asker.client is None:
                raise address_unknown()
            whole = request._replace(passkey=passkey or request.passkey)
            asker.wait()
            self._scrapes.ask(whole, asker.client, PROTOCOL_HTTP, answer)
        except Refusal as refusal:
            answer.turn_down(refusal)


class _ScrapeAnswer:
    """A scrape that may wait for other shards."""

    __slots__ = ("_asker", "_counters", "_min_interval")

    def __init__(self, asker: Asker, min_interval: int, counters: Counters) -> None:
        self._asker = asker
        self._min_interval = min_interval
        self._counters = counters

    def scraped(self, figures: Figures) -> None:
        """Send the figures."""
        self._counters.answer(PROTOCOL_HTTP, SCRAPE)
        self._asker.answer(write_scrape(figures, self._min_interval))

    def turn_down(self, refusal: Refusal) -> None:
        """Send a refusal."""
        self._counters.refuse(refusal.code, PROTOCOL_HTTP, SCRAPE)
        self._asker.answer(write_failure(refusal.text, refusal.retry_minutes))
