"""Strict bencode reading (BEP 3) of untrusted bytes: iterative, bounded, keeping raw spans."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from domain.metainfo.model import MAX_BYTES, MAX_DEPTH, MetainfoRefused, MetainfoTooLarge

MAX_STEPS = 700_000
"""Strings, numbers, and starts and ends of lists and dictionaries in one file.

A hybrid torrent of 20,000 files, each with its pad file, has about 640,000. The bound keeps a
10 MiB file of nothing but empty strings well within a second (measured: 0.4 s).
"""
MAX_KEYS = 1_000
"""Keys of the outer dictionary and of `info`; real files have about ten."""

INT64 = range(-(2**63), 2**63)
_INTEGER_SPAN = len(b"-9223372036854775808") + 1
_INTEGER = re.compile(rb"0|-?[1-9][0-9]*")
_SURE_SPAN = 18
"""A number of up to 17 digits is never beyond 64 bits."""
_LENGTH_DIGITS = len(str(MAX_BYTES))
_SHORT = {b"%d" % length: length for length in range(256)}
"""Lengths of nearly all strings, as written: one look-up instead of three checks."""

Value: TypeAlias = "int | bytes | list[Value] | dict[bytes, Value]"
_Box: TypeAlias = "list[Value] | dict[bytes, Value]"


class Entry(NamedTuple):
    """Where one key and its value stand in the raw bytes."""

    key: bytes
    start: int
    value_start: int
    end: int


class Scan(NamedTuple):
    """A file as scanned.

    `outer` are the entries of the outer dictionary and `info` those of its `info`, in the
    order of the file; both are empty where there is no such dictionary. `unsorted` is where
    the first key out of order stands within `info`, None when all are in order.
    """

    root: Value
    outer: list[Entry]
    info: list[Entry]
    unsorted: int | None


def scan(content: bytes) -> Scan:
    """Read any bytes. Raises `MetainfoRefused` and `MetainfoTooLarge`, nothing else."""
    if len(content) > MAX_BYTES:
        raise MetainfoTooLarge()
    return _Scanner(content).run()


class _Scanner:
    """One pass over the bytes; open lists and dictionaries wait on a stack of its own."""

    __slots__ = (
        "_box",
        "_content",
        "_info",
        "_key",
        "_key_start",
        "_outer",
        "_pos",
        "_previous",
        "_stack",
        "_start",
        "_unsorted",
    )

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._pos = 0
        self._start = 0
        self._box: _Box = []
        self._key: bytes | None = None
        self._key_start = 0
        self._previous: bytes | None = None
        self._stack: list[tuple[_Box, int, bytes | None, int]] = []
        self._outer: list[Entry] = []
        self._info: list[Entry] = []
        self._unsorted: int | None = None

    def run(self) -> Scan:
        content, size = self._content, len(self._content)
        for _ in range(MAX_STEPS):
            if self._pos >= size:
                raise MetainfoRefused("truncated", "it ends too early", size)
            first = content[self._pos]
            if 48 <= first <= 57:
                self._string()
            elif first == 101:
                self._close()
            elif self._key is None and type(self._box) is dict:
                raise MetainfoRefused("key_invalid", "a key must be a string", self._pos)
            elif first == 105:
                self._integer()
            elif first == 100:
                self._open({})
            elif first == 108:
                self._open([])
            else:
                raise MetainfoRefused("byte_unexpected", "no value starts so", self._pos)
            if not self._stack and self._box:
                return self._finish()
        raise MetainfoRefused("too_many_items", "it has too many items", self._pos)

    def _finish(self) -> Scan:
        """Nothing but white space may follow: some tools end the file with a line feed."""
        if self._content[self._pos :].strip():
            raise MetainfoRefused("trailing_bytes", "something follows its end", self._pos)
        root = self._box[0]  # type: ignore[index]
        return Scan(root, self._outer, self._info, self._unsorted)

    def _string(self) -> None:
        start = self._pos
        content = self._content
        colon = content.find(b":", start, start + _LENGTH_DIGITS + 1)
        length = _SHORT.get(content[start:colon]) if colon > 0 else None
        if length is None:
            length = self._long(start, colon)
        end = colon + 1 + length
        if end > len(content):
            raise MetainfoRefused("truncated", "a string is longer than the file", start)
        self._pos = end
        text = content[colon + 1 : end]
        if self._key is None and type(self._box) is dict:
            self._take_key(text, start)
        else:
            self._place(text, start)

    def _long(self, start: int, colon: int) -> int:
        digits = self._content[start : max(colon, start)]
        if not digits.isdigit() or digits[0] == 48:
            raise MetainfoRefused("string_invalid", "a string's length is wrong", start)
        return int(digits)

    def _integer(self) -> None:
        start = self._pos
        end = self._content.find(b"e", start, start + 1 + _INTEGER_SPAN)
        if end < 0 or _INTEGER.fullmatch(self._content, start + 1, end) is None:
            raise MetainfoRefused("integer_invalid", "a number is not written as one", start)
        number = int(self._content[start + 1 : end])
        if end - start > _SURE_SPAN and number not in INT64:
            raise MetainfoRefused("integer_overflow", "a number is beyond 64 bits", start)
        self._pos = end + 1
        self._place(number, start)

    def _take_key(self, key: bytes, start: int) -> None:
        if key in self._box:
            raise MetainfoRefused("key_repeated", "a key is there twice", start)
        previous = self._previous
        if previous is not None and key < previous and self._unsorted is None and self._in_info():
            self._unsorted = start
        self._key = key
        self._key_start = start
        self._previous = key

    def _in_info(self) -> bool:
        return len(self._stack) >= 2 and self._stack[1][2] == b"info"

    def _open(self, box: _Box) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise MetainfoRefused("too_deep", "it is nested too deeply", self._pos)
        self._stack.append((self._box, self._start, self._key, self._key_start))
        self._box = box
        self._start = self._pos
        self._key = None
        self._previous = None
        self._pos += 1

    def _close(self) -> None:
        if not self._stack or self._key is not None:
            raise MetainfoRefused("end_unexpected", "something ends that did not begin", self._pos)
        self._pos += 1
        value, start = self._box, self._start
        self._box, self._start, self._key, self._key_start = self._stack.pop()
        self._previous = self._key
        self._place(value, start)

    def _place(self, value: Value, start: int) -> None:
        box, key = self._box, self._key
        if key is None:
            box.append(value)  # type: ignore[union-attr]
            return
        box[key] = value  # type: ignore[call-overload]
        self._key = None
        depth = len(self._stack)
        if depth == 1:
            self._note(self._outer, Entry(key, self._key_start, start, self._pos))
        elif depth == 2 and self._stack[1][2] == b"info":
            self._note(self._info, Entry(key, self._key_start, start, self._pos))

    @staticmethod
    def _note(entries: list[Entry], entry: Entry) -> None:
        if len(entries) >= MAX_KEYS:
            raise MetainfoRefused("too_many_keys", "it has too many keys", entry.start)
        entries.append(entry)
