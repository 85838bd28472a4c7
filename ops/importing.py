"""Reading an import file and sending it through the log, a batch at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid5

import msgspec

from application.bus import Context
from application.import_lines import (
    MOST_BYTES,
    HeadingLine,
    TorrentLine,
    read_files,
    read_heading,
    read_line,
)
from application.import_names import Names, PlainLine
from application.imports import ImportLineRefused, ImportLines
from application.ports import CommandRepeated
from application.uploads import NFO_BYTES
from domain.errors import DomainError
from domain.imports import Import, ImportElsewhere, import_id
from ops.failures import OperatorError

FACTS: Final = 1_000
"""Facts in one append: it holds the log's lock for some 50 ms."""
FILE_BYTES: Final = 8 * 1024 * 1024
"""Bytes of .torrent files in one append."""


class ImportRefused(OperatorError):
    """The file can't be imported, or not from there."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Lines behind `after` up to `line`; `digest` is of all bytes up to there."""

    after: int
    line: int
    digest: str
    lines: tuple[PlainLine, ...]
    read: int
    ends: bool


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an import is: the last line that is in, facts and seconds of this run."""

    line: int
    facts: int
    seconds: float
    read: int
    size: int

    @property
    def rate(self) -> float:
        """Facts a second."""
        return self.facts / self.seconds if self.seconds else 0.0


Report = Callable[[Progress], None]


class ImportFile:
    """An import file, read from its begin to its end. Raises `ImportRefused`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.parent
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise ImportRefused(f"{path} can't be read: {error.strerror}.") from None
        self.size = path.stat().st_size
        self._digest = hashlib.sha256()
        self._line = 0
        self._read = 0
        try:
            with _telling(1):
                self.heading: HeadingLine = read_heading(self._next() or b"")
        except ImportRefused:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def pass_over(self, state: Import, from_line: int | None) -> int:
        """Go to where the import stands, or to `from_line`; the last line passed over.

        Refuses a file whose lines up to there are not those that were imported.
        """
        while self._line < state.line:
            if self._next() is None:
                raise ImportRefused(
                    f"{self._path} ends before line {state.line}, up to which it was imported."
                )
        if state.line and self._digest.hexdigest() != state.digest:
            raise ImportRefused(
                f"The lines up to {state.line} were imported and have been changed since; "
                "bring them back as they were, or give what is left another name."
            )
        if from_line is not None:
            if from_line <= state.line:
                raise ImportRefused(
                    f"Line {from_line} is in already; the import goes on at {state.line + 1}."
                )
            while self._line < from_line - 1:
                if self._next() is None:
                    raise ImportRefused(f"{self._path} has no line {from_line}.")
        return self._line

    def batches(self) -> Iterator[Batch]:
        """What is left, some thousand facts at a time; at least one batch, the last `ends`."""
        waiting: Batch | None = None
        try:
            for batch in self._batches():
                if waiting is not None:
                    yield waiting
                waiting = batch
        except ImportRefused:
            # The lines before those of the bad one are whole.
            if waiting is not None:
                yield waiting
            raise
        if waiting is None:
            waiting = self._batch(self._line, ())
        yield msgspec.structs.replace(waiting, ends=True)

    def _batches(self) -> Iterator[Batch]:
        after, lines, facts, files = self._line, list[PlainLine](), 0, 0
        while (raw := self._next()) is not None:
            if not raw.strip():
                continue
            with _telling(self._line):
                plain = self._plain(raw)
            lines.append(plain)
            facts += 2 if plain.files else 1
            files += len(plain.files.content) if plain.files else 0
            if facts >= FACTS or files >= FILE_BYTES:
                yield self._batch(after, tuple(lines))
                after, lines, facts, files = self._line, [], 0, 0
        if self._line > after:
            yield self._batch(after, tuple(lines))

    def _batch(self, after: int, lines: tuple[PlainLine, ...]) -> Batch:
        return Batch(
            after=after,
            line=self._line,
            digest=self._digest.hexdigest(),
            lines=lines,
            read=self._read,
            ends=False,
        )

    def _plain(self, raw: bytes) -> PlainLine:
        line = read_line(raw)
        files = None
        if isinstance(line, TorrentLine):
            files = read_files(line, self._folder, nfo_bytes=NFO_BYTES)
            # The bytes are kept once.
            line = msgspec.structs.replace(line, content=None)
        return PlainLine(self._line, line, files)

    def _next(self) -> bytes | None:
        raw = self._file.readline(MOST_BYTES + 1)
        if not raw:
            return None
        self._line += 1
        self._read += len(raw)
        self._digest.update(raw)
        return raw


Dispatch = Callable[[ImportLines, Context], int]
"""Runs the command, or only tries it; the number of facts. Raises `DomainError`."""


class Importer:
    """Sends a file's batches to `dispatch`; the next is read while one is being appended.

    `kid` is the key new passkeys are made under.
    """

    def __init__(
        self, dispatch: Dispatch, names: Names, *, kid: int, clock: Callable[[], datetime]
    ) -> None:
        self._dispatch = dispatch
        self._names = names
        self._kid = kid
        self._clock = clock

    def run(self, file: ImportFile, report: Report) -> int:
        """Import what is left of `file`; the number of facts. Raises `ImportRefused`."""
        began, facts = time.monotonic(), 0
        for batch, recorded in self._sent(file):
            facts += recorded
            seconds = time.monotonic() - began
            report(
                Progress(
                    line=batch.line, facts=facts, seconds=seconds, read=batch.read, size=file.size
                )
            )
        return facts

    def _sent(self, file: ImportFile) -> Iterator[tuple[Batch, int]]:
        """Each batch with its facts, once it is recorded."""
        with ThreadPoolExecutor(1, thread_name_prefix="import-append") as appender:
            under_way: tuple[Batch, Future[int]] | None = None
            try:
                for batch in _ahead(file.batches()):
                    # Names are resolved while the database works on the batch before.
                    command = self._command(file.heading.name, batch)
                    if under_way is not None:
                        yield under_way[0], under_way[1].result()
                    under_way = batch, appender.submit(self._import, command)
            except ImportRefused:
                # What is under way comes first in the file, and so does its refusal.
                if under_way is not None:
                    under_way[1].result()
                raise
            if under_way is not None:
                yield under_way[0], under_way[1].result()

    def _command(self, name: str, batch: Batch) -> ImportLines:
        with _telling(batch.after + 1):
            items = self._names.resolve(batch.lines)
        return ImportLines(
            name=name,
            after=batch.after,
            line=batch.line,
            digest=batch.digest,
            kid=self._kid,
            items=tuple(items),
            ends=batch.ends,
        )

    def _import(self, command: ImportLines) -> int:
        # The same for these lines whoever sends them, and whenever.
        whole = import_id(command.name)
        context = Context(
            at=self._clock(), command=uuid5(whole, str(command.after)), correlation=whole
        )
        try:
            return self._dispatch(command, context)
        except CommandRepeated:
            raise ImportRefused(ImportElsewhere.message) from None
        except ImportElsewhere as refusal:
            raise ImportRefused(refusal.text) from None
        except ImportLineRefused as refusal:
            raise _refused_line(refusal) from None
        except DomainError as refusal:
            # Somebody took a name of these lines after it was looked up, or the log is away.
            raise ImportRefused(
                f"Lines {command.after + 1} to {command.line} were refused: {refusal.text}"
            ) from None


def _refused_line(refusal: ImportLineRefused) -> ImportRefused:
    return ImportRefused(f"Line {refusal.data['line']}: {refusal.text}")


@contextmanager
def _telling(line: int) -> Iterator[None]:
    """A refusal in this block becomes one of the line, for the operator."""
    try:
        yield
    except ImportLineRefused as refusal:
        raise _refused_line(refusal) from None
    except DomainError as refusal:
        raise ImportRefused(f"Line {line}: {refusal.text}") from None


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each read while the caller works on the one before."""
    with ThreadPoolExecutor(1, thread_name_prefix="import-reader") as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch
