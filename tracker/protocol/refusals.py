"""Why an announce is refused: fixed texts, the only words that ever reach a client."""

from __future__ import annotations


class Refusal(Exception):
    """A refusal with its text for the client.

    `code` is a stable word for metrics. `retry_minutes` above 0 says that the cause is
    temporary; it goes out as `retry in`, minutes as text (field practice of clients).
    """

    def __init__(self, code: str, text: str, retry_minutes: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.text = text
        self.retry_minutes = retry_minutes


def address_unknown() -> Refusal:
    """A proxy of ours does not tell whose request it is, so no peer can be made of it."""
    return Refusal("address_unknown", "The proxy does not say which address you have.")


def unavailable() -> Refusal:
    """The event stream takes nothing at the moment, so no announce may be confirmed."""
    return Refusal("unavailable", "The tracker cannot record announces at the moment.", 1)
