"""Facts told as sentences, one line each: when, who, what. What `audit history --about` prints."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from domain.kernel import Fact
from projections.history_search import ERASED, Entry

_PLAIN: Final = {"None": "none", "True": "yes", "False": "no"}
WORDS_SHOWN: Final = 300
"""Characters of what somebody wrote; a line is for reading, `--json` has all of it."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STANDINGS: Final = {
    "pending": "waiting for a moderator",
    "accepted": "accepted",
    "changes_requested": "to be changed",
    "rejected": "rejected",
}
_DETAILS: Final = (
    "name",
    "description",
    "category",
    "tags",
    "imdb",
    "tmdb",
    "tvdb",
    "igdb",
    "openlibrary",
)
"""What an edit may change, in the order it is told."""


def printable(text: str) -> str:
    """The text on one line, without anything that could steer a terminal or turn its order."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


class Biography:
    """Tells entries in order; remembers each torrent's details, to say what an edit changed."""

    def __init__(self, facts: Mapping[str, type[Fact]]) -> None:
        self._facts = facts
        self._names: dict[UUID, str] = {}
        self._details: dict[UUID, dict[str, Any]] = {}

    def know(self, names: Mapping[UUID, str]) -> None:
        """Call these ids by these names from now on."""
        self._names.update({thing: printable(name) for thing, name in names.items()})

    def line(self, entry: Entry) -> str:
        """The entry as one line."""
        who = self.name(entry.actor) if entry.actor else "the system"
        told = SENTENCES.get(entry.topic)
        what = told(self, entry) if told else self._plainly(entry)
        if entry.topic in {"torrent.uploaded.1", "torrent.edited.1"}:
            self._details[entry.aggregate] = entry.fact
        return f"{entry.at:%Y-%m-%d %H:%M:%S}  {who} {what}"

    def name(self, thing: UUID | str) -> str:
        """What an id is called; the first digits of one without a name."""
        known = UUID(str(thing))
        return self._names.get(known) or f"#{known.hex[:12]}"

    def details_before(self, torrent: UUID) -> Mapping[str, Any] | None:
        """What the torrent's page said before, as far as it was told of."""
        return self._details.get(torrent)

    def shown(self, value: Any) -> str:
        """A field's value for people."""
        if isinstance(value, str):
            return self.name(value) if _UUID.fullmatch(value) else printable(value)[:WORDS_SHOWN]
        if isinstance(value, list | tuple):
            return ", ".join(map(self.shown, value)) or "none"
        if isinstance(value, dict):
            return ", ".join(f"{name} {self.shown(each)}" for name, each in value.items())
        return _PLAIN.get(repr(value), str(value))

    def _plainly(self, entry: Entry) -> str:
        """A fact without a sentence of its own: what its class says of itself, and its fields."""
        words = inspect.cleandoc(self._facts[entry.topic].__doc__ or "").split("\n\n")[0]
        said = " ".join(words.split()).rstrip(".")
        fields = [
            f"{name.replace('_', ' ')} {self.shown(value)}"
            for name, value in entry.fact.items()
            if value not in (None, [], "")
        ]
        return f"– {said}" + (f" ({'; '.join(fields)})" if fields else "")


Sentence = Callable[[Biography, Entry], str]


def ids_in(entries: Iterable[Entry]) -> Iterator[UUID]:
    """Every id the entries hold that may have a name."""
    for entry in entries:
        yield entry.aggregate
        if entry.actor:
            yield entry.actor
        yield from _ids(entry.fact)


def _ids(value: Any) -> Iterator[UUID]:
    if isinstance(value, str) and _UUID.fullmatch(value):
        yield UUID(value)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _ids(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _ids(each)


def _quoted(words: str) -> str:
    if words == ERASED:
        return ERASED
    line = printable(words)
    return f'"{line if len(line) <= WORDS_SHOWN else line[: WORDS_SHOWN - 1] + "…"}"'


def _saying(words: str | None) -> str:
    return f", saying {_quoted(words)}" if words else ""


def _uploaded(told: Biography, entry: Entry) -> str:
    fact = entry.fact
    files = "1 file" if fact["files"] == 1 else f"{fact['files']} files"
    parts = [f"uploaded {_quoted(fact['name'])}: {fact['size']:,} bytes in {files}"]
    if fact["category"]:
        parts.append(f"category {told.shown(fact['category'])}")
    if fact["tags"]:
        parts.append(f"tags {told.shown(fact['tags'])}")
    made_private = " (made private here)" if fact["original_info_hash"] else ""
    return f"{', '.join(parts)}; info hash {fact['info_hash']}{made_private}"


def _edited(told: Biography, entry: Entry) -> str:
    before, after = told.details_before(entry.aggregate), entry.fact
    if before is None:
        return f"edited it; it is called {_quoted(after['name'])} now"
    changes = []
    for field in _DETAILS:
        if before[field] == after[field]:
            continue
        if field == "description":
            changes.append("another description")
        elif field == "name":
            changes.append(f"name {_quoted(before[field])} to {_quoted(after[field])}")
        else:
            changes.append(f"{field} {told.shown(before[field])} to {told.shown(after[field])}")
    return f"edited it: {'; '.join(changes) or 'nothing that is shown'}"


def _opened(_told: Biography, entry: Entry) -> str:
    reasons = {
        "staff": "needs no moderator, being staff",
        "role": "needs no moderator, by a role",
        "import": "brought it accepted from elsewhere",
    }
    bypass = entry.fact["bypass"]
    return (
        reasons.get(bypass, f"needs no moderator ({bypass})")
        if bypass
        else ("put it into the queue for moderators")
    )


def _reset(_told: Biography, entry: Entry) -> str:
    status = _STANDINGS[entry.fact["status"]]
    return f"took the rejection back; it is {status}{_saying(entry.fact['message'])}"


def _comment_deleted(told: Biography, entry: Entry) -> str:
    fact = entry.fact
    if fact["author"] == fact["deleted_by"]:
        return "deleted a comment of his own"
    return f"deleted a comment of {told.name(fact['author'])}"


def _reported(told: Biography, entry: Entry) -> str:
    fact = entry.fact
    details = f" ({_quoted(fact['details'])})" if fact["details"] else ""
    return f"reported {_target(told, fact)}: {_quoted(fact['reason'])}{details}"


def _target(told: Biography, fact: Mapping[str, Any]) -> str:
    if fact["target_type"] in {"user", "torrent"}:
        return told.name(fact["target"])
    owner = f" of {told.name(fact['owner'])}" if "owner" in fact else ""
    return f"a {fact['target_type']}{owner}"


def _resolved(told: Biography, entry: Entry) -> str:
    fact = entry.fact
    bans = {"none": "", "permanent": " and banned its subject for good"}
    ban = bans.get(fact["ban"], f" and banned its subject for {fact['ban']}")
    return f"resolved the report of {told.name(fact['reporter'])}{ban}{_saying(fact['resolution'])}"


def _dismissed(told: Biography, entry: Entry) -> str:
    reporter = told.name(entry.fact["reporter"])
    return f"dismissed the report of {reporter}{_saying(entry.fact['resolution'])}"


def _notified(told: Biography, entry: Entry) -> str:
    fact = entry.fact
    whom = told.name(fact["recipient"]) if fact["recipient"] else "staff"
    return f"let {whom} know: {fact['kind'].replace('_', ' ')}"


def _banned(told: Biography, entry: Entry) -> str:
    until = f"until {entry.fact['until']}" if entry.fact["until"] else "for good"
    return f"banned {told.name(entry.aggregate)} {until}{_saying(entry.fact['reason'])}"


def _with_message(words: str) -> Sentence:
    return lambda _told, entry: words + _saying(entry.fact["message"])


def _always(words: str) -> Sentence:
    return lambda _told, _entry: words


SENTENCES: Final[Mapping[str, Sentence]] = {
    "torrent.uploaded.1": _uploaded,
    "torrent.edited.1": _edited,
    "torrent.withdrawn.1": _always("withdrew it; its info hashes are free again"),
    "torrent.favorited.1": _always("marked it as a favourite"),
    "torrent.unfavorited.1": _always("has it as a favourite no longer"),
    "torrent.approved.1": _with_message("accepted it"),
    "torrent.changes_requested.1": _with_message("asked for changes"),
    "torrent.rejected.1": _with_message("rejected it"),
    "torrent.reset.1": _reset,
    "torrent.resubmitted.1": lambda _told, entry: (
        "edited it while it waited for a moderator"
        if entry.fact["previous"] == "pending"
        else f"put it back into the queue by editing it; it was {_STANDINGS[entry.fact['previous']]}"
    ),
    "moderation.opened.1": _opened,
    "moderation.message_posted.1": lambda _told, entry: (
        f"wrote in its thread: {_quoted(entry.fact['message'])}"
    ),
    "moderation.closed.1": _always("closed its thread"),
    "comment.posted.1": lambda _told, entry: f"commented: {_quoted(entry.fact['content'])}",
    "comment.deleted.1": _comment_deleted,
    "report.filed.1": _reported,
    "report.withdrawn.1": lambda told, entry: (
        f"withdrew the report of {_target(told, entry.fact)}; its words are destroyed"
    ),
    "report.resolved.1": _resolved,
    "report.dismissed.1": _dismissed,
    "notice.raised.1": _notified,
    "account.registered.1": lambda _told, entry: f"registered as {entry.fact['username']}",
    "account.banned.1": _banned,
    "account.unbanned.1": lambda told, entry: (
        f"let {told.name(entry.aggregate)} in again"
        + (", as the ban was over" if entry.fact["expired"] else "")
    ),
    "account.role_granted.1": lambda told, entry: (
        f"gave {told.name(entry.aggregate)} the role {told.shown(entry.fact['role'])}"
    ),
    "account.role_withdrawn.1": lambda told, entry: (
        f"took the role {told.shown(entry.fact['role'])} from {told.name(entry.aggregate)}"
    ),
    "member.followed.1": lambda told, entry: f"follows {told.name(entry.fact['member'])}",
    "member.unfollowed.1": lambda told, entry: (
        f"follows {told.name(entry.fact['member'])} no longer"
    ),
}
"""What happens to torrents, and to members by others; every other fact is told plainly."""
