"""The vault: sealed values beside the events, by kind, owner and id; and blobs by reference."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any
from uuid import UUID

from eventsourcing.persistence import IntegrityError

from application.ports import VaultPut
from application.store.private_text import KIND
from application.store.recorder import EventLogRecorder, ItemChange
from application.store.sealing import Sealer
from application.store.vault_places import answer_place, blob_place, blob_ref, item_place


class Vault:
    """Seals what goes in, opens what comes out; writing is the log's business."""

    def __init__(self, recorder: EventLogRecorder, sealer: Sealer, secret: bytes) -> None:
        self._recorder = recorder
        self._sealer = sealer
        self._secret = secret

    def get(self, kind: str, owner: UUID, id: str) -> bytes | None:
        rows = self._recorder.rows(
            "SELECT value FROM vault.items WHERE kind = %b AND owner = %b AND id = %b",
            (kind, owner, id),
        )
        return self._opened(kind, owner, id, rows[0][0]) if rows else None

    def find(self, kind: str, id: str) -> tuple[UUID, bytes] | None:
        rows = self._recorder.rows(
            "SELECT owner, value FROM vault.items WHERE kind = %b AND id = %b LIMIT 1", (kind, id)
        )
        if not rows:
            return None
        owner, sealed = rows[0]
        return owner, self._opened(kind, owner, id, sealed)

    def list(self, kind: str, owner: UUID) -> Mapping[str, bytes]:
        rows = self._recorder.rows(
            "SELECT id, value FROM vault.items WHERE kind = %b AND owner = %b ORDER BY id",
            (kind, owner),
        )
        return {name: self._opened(kind, owner, name, sealed) for name, sealed in rows}

    def many(self, kind: str, owners: Set[UUID], id: str) -> dict[UUID, bytes]:
        """The items of one kind and id, by owner; who has none is left out."""
        if not owners:
            return {}
        rows = self._recorder.rows(
            "SELECT owner, value FROM vault.items WHERE kind = %b AND id = %b AND owner = ANY(%b)",
            (kind, id, [*owners]),
        )
        return {owner: self._opened(kind, owner, id, sealed) for owner, sealed in rows}

    def subject_keys(self, subjects: Set[UUID]) -> dict[UUID, bytes]:
        """Keys of private texts; read each time, as a destroyed key must be gone at once."""
        if not subjects:
            return {}
        rows: Any = self._recorder.rows(
            "SELECT owner, value FROM vault.items"
            " WHERE kind = 'subject_key' AND id = '' AND owner = ANY(%b)",
            ([*subjects],),
        )
        return {owner: self._opened(KIND, owner, "", sealed) for owner, sealed in rows}

    def create(self, put: VaultPut) -> bytes:
        """Keep a value unless the item exists; the value that is kept."""
        kept = self.get(put.kind, put.owner, put.id)
        if kept is not None:
            return kept
        try:
            self._recorder.write_items([self.sealed(put, absent=True)])
        except IntegrityError:
            return self.create(put)
        return put.value

    def sealed(self, put: VaultPut, *, absent: bool = False) -> ItemChange:
        """The item to write; `absent`: only where there is none yet."""
        value = self._sealer.seal(put.value, item_place(put.kind, put.owner, put.id))
        return ItemChange(put.kind, put.owner, put.id, value, absent)

    def blob_ref(self, content: bytes) -> bytes:
        return blob_ref(content, self._secret)

    def blob(self, ref: bytes) -> bytes | None:
        rows = self._recorder.rows("SELECT value FROM vault.blobs WHERE ref = %b", (ref,))
        return self._sealer.open(rows[0][0], blob_place(ref)) if rows else None

    def sealed_blob(self, content: bytes) -> tuple[bytes, bytes]:
        """Reference and sealed content."""
        ref = self.blob_ref(content)
        return ref, self._sealer.seal(content, blob_place(ref))

    def sealed_answer(self, command: UUID, answer: bytes) -> bytes:
        return self._sealer.seal(answer, answer_place(command))

    def open_answer(self, command: UUID, sealed: bytes) -> bytes:
        return self._sealer.open(sealed, answer_place(command))

    def _opened(self, kind: str, owner: UUID, id: str, sealed: bytes) -> bytes:
        return self._sealer.open(sealed, item_place(kind, owner, id))
