"""A history of accounts, categories, torrents and their moderation, made by the decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from domain import moderation, moderation_events, tags, taxonomy, torrents, users
from domain.kernel import Envelope, Fact, Meta
from domain.metainfo import ContentFile, Metainfo

START = datetime(2026, 1, 1, tzinfo=UTC)


def named(kind: int, number: int) -> UUID:
    return UUID(int=kind << 96 | 0x7000 << 64 | 0x8000 << 48 | number)


def metainfo(number: int, *, v2: bool = False) -> Metainfo:
    """What a file might say; no bytes stand behind it."""
    v1 = f"{number:040x}"
    return Metainfo(
        kind="hybrid" if v2 else "v1",
        name=f"Torrent {number}",
        files=(ContentFile("file", 1000 + number),),
        size=1000 + number,
        piece_length=16_384,
        is_private=True,
        info_hash_v1=v1,
        info_hash_v2=f"a{number:039x}{'0' * 24}" if v2 else None,
        info_span=(0, 0),
        private_span=(0, 0),
        kept=(),
    )


class Story:
    """Facts in order, with the states the decisions need."""

    def __init__(self, seed: int = 1) -> None:
        self.envelopes: list[Envelope] = []
        self._random = Random(seed)
        self._versions: dict[UUID, int] = {}
        self._accounts: list[UUID] = []
        self._torrents: dict[UUID, torrents.Torrent] = {}
        self._threads: dict[UUID, moderation.ModerationThread] = {}
        self._categories: list[UUID] = []

    def tell(self, length: int) -> Story:
        """Some accounts and categories, then `length` random happenings."""
        for number in range(1, 5):
            self.register(number)
        for name in ("Movies", "Books", "Games"):
            self.categorise(name)
        self.tell_on(length)
        self.change_categories()
        return self

    def tell_on(self, length: int) -> None:
        """`length` random happenings more."""
        for _ in range(length):
            self._random.choice(
                [
                    self.upload,
                    self.upload,
                    self.moderate,
                    self.moderate,
                    self.edit,
                    self.withdraw,
                    self.tag,
                ]
            )()

    def register(self, number: int) -> None:
        account = named(1, number)
        self._accounts.append(account)
        facts = users.register_account(
            number, f"member{number}", kid=41, starter_upload=0, invites=2
        )
        self._record(account, facts, actor=account)

    def categorise(self, name: str) -> UUID:
        category = named(2, len(self._categories) + 1)
        self._categories.append(category)
        self._record(category, taxonomy.create_category(None, name=name, newznab_id=2000))
        return category

    def change_categories(self) -> None:
        """Rename one, and remove one nothing belongs to."""
        unused = self.categorise("Unused")
        renamed = taxonomy.edit_category(
            self._category(self._categories[1]),
            parent=None,
            name="E-Books",
            newznab_id=7020,
            type="book",
            icon="book",
            is_adult=False,
        )
        self._record(self._categories[1], renamed)
        self._record(
            unused, taxonomy.remove_category(self._category(unused), torrents=0, children=0)
        )

    def _category(self, category: UUID) -> taxonomy.Category | None:
        state = None
        for envelope in self.envelopes:
            if envelope.originator_id == category:
                state = taxonomy.evolve(state, envelope)
        return state

    def upload(self) -> UUID:
        number = len(self._torrents) + 1
        torrent, uploader = named(3, number), self._random.choice(self._accounts)
        content = metainfo(number, v2=self._random.random() < 0.5)
        # The same content again once it was withdrawn.
        gone = [each for each in self._torrents.values() if each.withdrawn]
        taken = {each.info_hash for each in self._torrents.values() if not each.withdrawn}
        if gone and gone[0].info_hash not in taken and self._random.random() < 0.7:
            content = metainfo(int(gone[0].info_hash, 16), v2=gone[0].info_hash_v2 is not None)
        facts = torrents.upload_torrent(
            content,
            content,
            self._details(content.name),
            number=number,
            uploader=uploader,
            uploader_number=self._accounts.index(uploader) + 1,
            file_ref=number.to_bytes(32, "big"),
        )
        self._record(torrent, facts, actor=uploader)
        bypass = self._random.choice([None, None, "staff"])
        opened = moderation.open_moderation(torrent=torrent, uploader=uploader, bypass=bypass)
        self._record(moderation.thread_id(torrent), opened, actor=uploader)
        return torrent

    def moderate(self) -> None:
        thread = self._pick_thread()
        if thread is None:
            return
        told = {
            "moderator": self._accounts[0],
            "message_id": named(4, len(self.envelopes)),
            "message": self._random.choice(["Look again.", "Ж & <b>"]),
        }
        match thread.status, self._random.randrange(3):
            case "rejected", _:
                facts = moderation.reset_torrent(thread, **told)
            case (("pending" | "changes_requested"), 0):
                facts = moderation.approve_torrent(thread, **{**told, "message": None})
            case _, 1:
                facts = moderation.reject_torrent(thread, **told)
            case _:
                facts = moderation.request_torrent_changes(thread, **told)
        self._record(thread.id, facts, actor=self._accounts[0])

    def edit(self) -> None:
        torrent = self._pick_torrent()
        if torrent is not None:
            details = self._details(f"Edited {len(self.envelopes)}")
            facts = torrents.edit_torrent(torrent, details, editor=torrent.uploader, is_staff=False)
            self._record(torrent.id, facts, actor=torrent.uploader)
            thread = self._threads[moderation.thread_id(torrent.id)]
            if thread.status != "rejected":
                resubmitted = moderation.resubmit_torrent(
                    thread, bypasses=False, message_id=named(4, len(self.envelopes))
                )
                self._record(thread.id, resubmitted, actor=torrent.uploader)

    def withdraw(self) -> None:
        torrent = self._pick_torrent()
        if torrent is not None and self._random.random() < 0.5:
            facts = torrents.withdraw_torrent(torrent, withdrawer=torrent.uploader, is_staff=False)
            self._record(torrent.id, facts, actor=torrent.uploader)
            thread = self._threads[moderation.thread_id(torrent.id)]
            self._record(thread.id, moderation.close_moderation(thread), actor=torrent.uploader)

    def tag(self) -> None:
        """Create a tag, or remove one whether anybody uses it or not."""
        name = self._random.choice(["One", "Two", "Three", "Four"])
        if self._random.random() < 0.5:
            fresh = tags.Tag()
            facts = tags.create_tag(fresh, name=name, slug=None, color="#00ff00")
        else:
            facts = tags.remove_tag(slug=name.lower(), name=name)
        self._record(tags.tag_id(name.lower()), facts, actor=self._accounts[0])

    def _details(self, name: str) -> torrents.TorrentDetails:
        return torrents.torrent_details(
            name=name,
            description="Words.",
            category=self._random.choice([None, *self._categories]),
            tags=tuple(self._random.sample(["one", "Two", "THREE!", "four"], k=2)),
        )

    def _pick_torrent(self) -> torrents.Torrent | None:
        open_ones = [each for each in self._torrents.values() if not each.withdrawn]
        return self._random.choice(open_ones) if open_ones else None

    def _pick_thread(self) -> moderation.ModerationThread | None:
        open_ones = [each for each in self._threads.values() if not each.closed]
        return self._random.choice(open_ones) if open_ones else None

    def _record(self, id: UUID, facts: Sequence[Fact], *, actor: UUID | None = None) -> None:
        for fact in facts:
            number = len(self.envelopes) + 1
            version = self._versions[id] = self._versions.get(id, 0) + 1
            meta = Meta(
                at=START + timedelta(seconds=number),
                actor=actor,
                command=named(5, number),
                correlation=named(6, number),
            )
            envelope = Envelope(originator_id=id, originator_version=version, meta=meta, fact=fact)
            self.envelopes.append(envelope)
            if isinstance(fact, torrents.FACTS):
                self._torrents[id] = torrents.evolve(self._torrents.get(id), envelope)
            if isinstance(fact, moderation_events.FACTS):
                self._threads[id] = moderation.evolve(self._threads.get(id), envelope)
