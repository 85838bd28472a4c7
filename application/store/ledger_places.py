"""What a sealed value of the peer ledger is bound to: the place it stands in."""

from __future__ import annotations

from datetime import date


def block_place(day: date, segment: int, kind: str, number: int) -> bytes:
    """The place of a block of `ledger.blocks`."""
    return f"ledger block:{day.isoformat()}:{segment}:{kind}:{number}".encode()


def checkpoint_place(closing: int, part: str) -> bytes:
    """The place of `sums` or `state` of a row of `ledger.checkpoints`."""
    return f"ledger checkpoint:{closing}:{part}".encode()
