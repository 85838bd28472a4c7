"""Text that members write: what can be kept of it."""

from __future__ import annotations

import re
from typing import Final

_UNFIT: Final = re.compile("[\0\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether a fact and a database can hold it.

    A NUL fits into no database text. JSON can spell one half of a surrogate pair, which no UTF-8
    and so no fact can hold.
    """
    return _UNFIT.search(text) is None
