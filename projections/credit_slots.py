"""Keyed state in arrays: an open-addressing table from integer keys to rows of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from projections.peer_records import Flags, Ints, Keys

T = TypeVar("T", bound=np.generic)
FIRST_BITS: Final = 10
_SHIFTS: Final = (np.uint64(30), np.uint64(27), np.uint64(31))
_FACTORS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def _mix(words: Keys) -> Keys:
    """The finaliser of splitmix64: every bit of the input moves every bit of the output."""
    words = (words ^ (words >> _SHIFTS[0])) * _FACTORS[0]
    words = (words ^ (words >> _SHIFTS[1])) * _FACTORS[1]
    return words ^ (words >> _SHIFTS[2])


class Groups:
    """Rows gathered by slot, log order kept inside each group.

    `order` lists the rows group by group, `follows` says which of these has the row before
    it in the same group.
    """

    def __init__(self, order: Ints, gathered: Ints) -> None:
        """From rows in gathered order and the slot of each; see `gather`."""
        self.order, self._gathered = order, gathered
        self.follows: Flags = np.zeros(len(order), np.bool_)
        np.equal(gathered[1:], gathered[:-1], out=self.follows[1:])

    @classmethod
    def gather(cls, slots: Ints) -> Groups:
        """Rows by their slots; slot and row in one number sort in half a stable argsort's time."""
        bits = len(slots).bit_length()
        packed = (slots << bits) | np.arange(len(slots))
        packed.sort()
        return cls(packed & ((1 << bits) - 1), packed >> bits)

    def only(self, wanted: Flags, numbers: Ints | None = None) -> Groups:
        """The groups of the `wanted` rows, which keep their numbers or get these `numbers`."""
        chosen = wanted[self.order]
        order = self.order[chosen]
        return Groups(order if numbers is None else numbers[order], self._gathered[chosen])

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.order)

    @property
    def starts(self) -> Ints:
        return np.flatnonzero(~self.follows)

    @property
    def firsts(self) -> Ints:
        """The first row of each group."""
        return self.order[~self.follows]

    @property
    def lasts(self) -> Ints:
        """The last row of each group, groups in the same order as in `firsts`."""
        ends = np.ones(len(self.order), np.bool_)
        ends[:-1] = ~self.follows[1:]
        return self.order[ends]

    def previous(self, values: Ints, stored: Ints) -> Ints:
        """In gathered order: the value of the row before in the group, else what was stored."""
        before = np.empty_like(stored)
        before[1:] = values[self.order[:-1]]
        return np.where(self.follows, before, stored)

    def sums(self, values: Ints) -> Ints:
        """Column sums of each group of a matrix with one line a row."""
        return np.add.reduceat(values[self.order], self.starts, axis=0)


class SlotTable:
    """Rows of 64-bit columns, found by `width` unsigned key words; grows, never shrinks by itself.

    Slot numbers depend on the batches, results never do. `seed` must be unpredictable where
    keys come from outside (peer ids): else a member could fill one bucket and stop the fold.
    """

    def __init__(self, width: int, columns: Mapping[str, int], *, seed: int) -> None:
        self._seed = np.uint64(seed)
        self._defaults = dict(columns)
        self._bits = FIRST_BITS
        self._buckets = np.full(1 << self._bits, -1, np.int64)
        room = self._room
        self.size = 0
        self._keys: list[Keys] = [np.zeros(room, np.uint64) for _ in range(width)]
        self._columns: dict[str, Ints] = {
            name: np.full(room, default, np.int64) for name, default in columns.items()
        }
        self._changed: Flags = np.zeros(room, np.bool_)

    @property
    def _room(self) -> int:
        return 1 << (self._bits - 1)

    @property
    def width(self) -> int:
        """Words of a key."""
        return len(self._keys)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._columns)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, column: str) -> Ints:
        """The live column; valid until the next `insert`."""
        return self._columns[column]

    def keys(self, word: int) -> Keys:
        """One key word of every slot."""
        return self._keys[word][: self.size]

    def mark(self, slots: Ints) -> None:
        """Note that these rows changed."""
        self._changed[slots] = True

    def changed(self) -> Ints:
        """Slots marked since `clean`."""
        return np.flatnonzero(self._changed[: self.size])

    def count_changed(self) -> int:
        """How many slots were marked since `clean`."""
        return int(np.count_nonzero(self._changed[: self.size]))

    def marks(self) -> Flags:
        """Of every slot, whether it was marked since `clean`."""
        return self._changed[: self.size]

    def clean(self, slots: Ints | None = None) -> None:
        """Forget the marks of these rows, or of all."""
        self._changed[slice(None) if slots is None else slots] = False

    def fill(self, words: Sequence[Keys], columns: Mapping[str, Ints], marks: Flags) -> None:
        """Hold exactly these rows, of distinct keys; arrays become the table's own."""
        self._keys = list(words)
        self._columns = dict(columns)
        self._changed = marks
        self._refit(len(marks))

    def find(self, keys: Sequence[Keys]) -> Ints:
        """The slot of each key, -1 where there is none."""
        return self._probe(keys, self._hash(keys))

    def insert(self, keys: Sequence[Keys]) -> Ints:
        """The slot of each key; unseen keys get one, with the columns' defaults."""
        slots = self.find(keys)
        missing = np.flatnonzero(slots < 0)
        if not len(missing):
            return slots
        words = [word[missing] for word in keys]
        order = np.lexsort(tuple(reversed(words)))
        fresh = np.zeros(len(order), np.bool_)
        fresh[0] = True
        for word in words:
            gathered = word[order]
            fresh[1:] |= gathered[1:] != gathered[:-1]
        numbers = np.empty(len(order), np.int64)
        numbers[order] = self.size + np.cumsum(fresh) - 1
        self._add([word[order[fresh]] for word in words])
        slots[missing] = numbers
        return slots

    def keep(self, wanted: Flags) -> None:
        """Forget every slot that is not `wanted`; the others get new numbers."""
        size = int(np.count_nonzero(wanted))
        rows = np.flatnonzero(wanted)
        self._keys = [word[rows] for word in self._keys]
        self._columns = {name: values[rows] for name, values in self._columns.items()}
        self._changed = self._changed[rows]
        self._refit(size)

    def _refit(self, size: int) -> None:
        """Room for as many rows as the arrays now hold, placed anew."""
        self.size = size
        self._bits = FIRST_BITS
        while self._room < size:
            self._bits += 1
        self._resize()

    def _add(self, words: Sequence[Keys]) -> None:
        """Give the next slots to distinct, unseen keys."""
        first, last = self.size, self.size + len(words[0])
        if last > self._room:
            while last > self._room:
                self._bits += 1
            self._resize()
        for stored, word in zip(self._keys, words, strict=True):
            stored[first:last] = word
        self.size = last
        self._place(np.arange(first, last), self._hash(words))

    def _resize(self) -> None:
        """Room for half as many rows as there are buckets, all rows placed again."""
        self._keys = [_stretched(word, self._room, 0) for word in self._keys]
        self._columns = {
            name: _stretched(values, self._room, self._defaults[name])
            for name, values in self._columns.items()
        }
        self._changed = _stretched(self._changed, self._room, 0)
        self._buckets = np.full(1 << self._bits, -1, np.int64)
        rows = [word[: self.size] for word in self._keys]
        self._place(np.arange(self.size), self._hash(rows))

    def _hash(self, keys: Sequence[Keys]) -> Ints:
        mixed = np.full(len(keys[0]), self._seed, np.uint64)
        for word in keys:
            mixed = _mix(mixed ^ word)
        return (mixed >> np.uint64(64 - self._bits)).astype(np.int64)

    def _probe(self, keys: Sequence[Keys], buckets: Ints) -> Ints:
        mask = len(self._buckets) - 1
        slots = self._buckets[buckets]
        rows = self._mismatched(keys, slots, np.arange(len(slots)))
        while len(rows):
            buckets[rows] = (buckets[rows] + 1) & mask
            slots[rows] = self._buckets[buckets[rows]]
            rows = self._mismatched(keys, slots, rows)
        return slots

    def _mismatched(self, keys: Sequence[Keys], slots: Ints, rows: Ints) -> Ints:
        """Those of `rows` whose bucket holds another key."""
        found = slots[rows]
        wrong = np.zeros(len(rows), np.bool_)
        for stored, word in zip(self._keys, keys, strict=True):
            wrong |= stored[found] != word[rows]
        return rows[wrong & (found >= 0)]

    def _place(self, numbers: Ints, buckets: Ints) -> None:
        mask = len(self._buckets) - 1
        rows = np.arange(len(numbers))
        while len(rows):
            free = rows[self._buckets[buckets[rows]] < 0]
            # Of several rows that claim one bucket, one lands; the rest go on to the next.
            self._buckets[buckets[free]] = numbers[free]
            rows = rows[self._buckets[buckets[rows]] != numbers[rows]]
            buckets[rows] = (buckets[rows] + 1) & mask


def _stretched(values: npt.NDArray[T], room: int, default: int) -> npt.NDArray[T]:
    """A copy with space for `room` rows, the new ones holding `default`."""
    result = np.full(room, default, values.dtype)
    count = min(len(values), room)
    result[:count] = values[:count]
    return result
