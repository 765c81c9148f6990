"""Bringing attempts back to the table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from registry.archive.contents import contents_of
from registry.archive.reading import halves_of
from registry.archive.rows import UsageArchive
from registry.archive.schema import NAMES
from registry.db import Database, now_ms
from registry.errors import CorruptBlob, NotFound, RegistryError
from registry.experiments.rows import FEED
from registry.ledger.rows import DAY_SUMS, USAGE, USAGE_DAYS, UsageCorrection
from registry.ledger.usage_days import NAMES as SUM_NAMES
from registry.ledger.usage_days import rows_of
from registry.storage.blobs import BlobStore, digest_of
from registry.upsert import upsert

IDS_AT_ONCE = 500


def verified_bytes(blobs: BlobStore, name: str, digest: str) -> bytes:
    """A file of attempts as it was when it was verified. Raises `NotFound`, `CorruptBlob`, `StorageFailed`."""
    try:
        data = blobs.read(name)
    except NotFound:
        raise NotFound(f"{name} is not in the object storage; put it back from a backup") from None
    if digest_of(data) != digest:
        raise CorruptBlob(f"{name} is damaged: it is not as it was when it was verified; put it back from a backup")
    return data


def restore(db: Database, blobs: BlobStore, name: str, digest: str) -> bool:
    """Bring a file's attempts and corrections back; false when they are back already. The file stays.

    Sums by day are as before. Raises what `verified_bytes` raises, and `InvalidInput` without the extra.
    """
    with db.read() as session:
        halves = halves_of(session)
    stored = contents_of(verified_bytes(blobs, name, digest), halves)
    rows = [dict(zip(NAMES, row, strict=True)) for row in stored.rows]
    with db.write() as session:
        record = session.scalars(select(UsageArchive).where(UsageArchive.name == name).with_for_update()).one()
        if record.restored_at_ms is not None:
            return False
        if upsert(session, USAGE, rows) != len(rows):
            raise RegistryError(f"some attempts of {name} are in the table, and it is archived; nothing was changed")
        corrections: list[dict[str, Any]] = [
            {"attempt_id": attempt, **one} for attempt, of_attempt in stored.corrections.items() for one in of_attempt
        ]
        session.add_all(UsageCorrection(**one) for one in corrections)
        session.flush()
        _take_off(session, record.sums, [row["attempt_id"] for row in rows])
        record.restored_at_ms = now_ms()
    return True


def _take_off(session: Session, sums: list[dict[str, Any]], attempts: list[str]) -> None:
    """What triggers have just done a second time: added to sums by day, and noted for experiments, of which none had
    yet to read any of these.
    """
    less = [dict(zip(SUM_NAMES, one, strict=True)) for one in rows_of(sums)]
    less = [{**one, **{name: -one[name] for name in DAY_SUMS}} for one in less]
    upsert(session, USAGE_DAYS, less, add=DAY_SUMS)
    for begin in range(0, len(attempts), IDS_AT_ONCE):
        of_these = FEED.c.attempt_id.in_(attempts[begin : begin + IDS_AT_ONCE])
        session.connection().execute(delete(FEED).where(of_these))
