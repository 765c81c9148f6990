"""Writing anew what was sealed with an older key, a piece at a time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, tuple_

from registry.db import Database
from registry.errors import NotFound
from registry.responses.sealing import Keyring
from registry.tenant_files.infos import ABOUT
from registry.tenant_files.parts import Parts
from registry.tenant_files.rows import FilePart, TenantFile, Upload

BATCH = 200
"""Rows that one transaction looks at."""


class FileReseal:
    """Over all tenants."""

    def __init__(self, db: Database, parts: Parts, keyring: Keyring) -> None:
        self._db = db
        self._parts = parts
        self._keyring = keyring

    def reseal(self) -> int:
        """How many values and pieces were written anew. What comes or goes meanwhile is left alone. Raises
        `Unreadable`, `StorageFailed`.
        """
        return self._rows(TenantFile) + self._rows(Upload) + self._pieces()

    def _rows(self, row: Any) -> int:
        changed, last = 0, ("", "")
        while True:
            query = select(row).where(tuple_(row.tenant, row.id) > last).order_by(row.tenant, row.id).limit(BATCH)
            with self._db.write() as session:
                rows = session.scalars(query).all()
                for one in rows:
                    last = (one.tenant, one.id)
                    if not self._keyring.is_current(one.about):
                        about = self._keyring.open(one.about, one.tenant, one.id, ABOUT)
                        one.about = self._keyring.seal(about, one.tenant, one.id, ABOUT)
                        changed += 1
            if len(rows) < BATCH:
                return changed

    def _pieces(self) -> int:
        changed, last = 0, ""
        while True:
            query = select(FilePart).where(FilePart.id > last, FilePart.pieces.is_not(None)).order_by(FilePart.id)
            with self._db.read() as session:
                parts = session.scalars(query.limit(BATCH)).all()
            for part in parts:
                last = part.id
                changed += self._part(part)
            if len(parts) < BATCH:
                return changed

    def _part(self, part: FilePart) -> int:
        count = part.pieces or 0
        try:
            changed = sum(self._parts.pieces.reseal(part.tenant, part.id, number) for number in range(count))
        except NotFound:
            if self._is_there(part.id):
                raise
            changed = 0
        if not self._is_there(part.id):  # deleted meanwhile: what was written since then belongs to nothing
            self._parts.pieces.remove(part.id, count)
            return 0
        return changed

    def _is_there(self, part_id: str) -> bool:
        with self._db.read() as session:
            return session.get(FilePart, part_id) is not None
