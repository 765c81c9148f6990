"""Moving attempts out of the table: written, read back, held against the ledger, and only then removed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, literal, not_, or_, select, tuple_
from sqlalchemy.orm import Session

from registry.archive.contents import Contents, contents_of, in_order, segments_of
from registry.archive.infos import ArchiveInfo
from registry.archive.parquet import written
from registry.archive.reading import halves_of
from registry.archive.rows import LEAVING, UsageArchive
from registry.archive.schema import CORRECTION, SCHEMA
from registry.days import DAY_MS, date_of
from registry.db import Database, now_ms
from registry.errors import RegistryError
from registry.experiments.rows import FEED
from registry.ledger.rows import USAGE, UsageCorrection, UsageSegment
from registry.ledger.usage_days import summed, wrong_days
from registry.ledger.usage_record import Values
from registry.storage.blobs import BlobStore, digest_of
from registry.upsert import upsert

MOST_ROWS = 10_000
"""Of a file, and so of a transaction that removes rows: it holds SQLite's one lock for about a quarter of a second."""
FOLDER = "ledger/usage"
STAYS_DAYS = 30
"""After it was brought back, a day is left in the table for so long."""
_began, _id = USAGE.c.started_at_ms, USAGE.c.attempt_id


class NotArchived(RegistryError):
    """Something is not as it must be before rows may be removed; none were."""


@dataclass(frozen=True, slots=True)
class DayToArchive:
    """Attempts that began on a UTC day and may be archived."""

    day: int
    attempts: int

    @property
    def date(self) -> str:
        """`YYYY-MM-DD`."""
        return date_of(self.day)


class Archiver:
    """Any number of them may work at once, in any processes: an attempt is removed by one."""

    def __init__(self, db: Database, blobs: BlobStore, most_rows: int = MOST_ROWS) -> None:
        self._db = db
        self._blobs = blobs
        self._most_rows = most_rows

    def days(self, before_ms: int) -> list[DayToArchive]:
        """Whole days before an instant that have attempts to be archived, the oldest first; days that were brought back
        lately are left.
        """
        day = (_began // DAY_MS).label("day")
        kept_ms = now_ms() - STAYS_DAYS * DAY_MS
        kept = select(UsageArchive.day).where(UsageArchive.restored_at_ms >= kept_ms)
        query = (
            select(day, func.count())
            .where(_began < before_ms // DAY_MS * DAY_MS, _may_go(), day.not_in(kept))
            .group_by(day)
            .order_by(day)
        )
        with self._db.read() as session:
            return [DayToArchive(*found) for found in session.execute(query)]

    def archive(self, day: int) -> Iterator[ArchiveInfo]:
        """Move a day's attempts to files; each as soon as it is recorded. Done again after a kill, it goes on.

        Raises `NotArchived` when sums by day are not those of the attempts, or the storage gives back something else
        than it got; `StorageFailed`; `InvalidInput` without the extra.
        """
        with self._db.read() as session:
            if wrong_days(session, day):
                raise NotArchived(
                    f"{date_of(day)}: usage by day is not the sum of its attempts, so that they are not removed; see "
                    "`switchyard ledger verify`"
                )
        after: tuple[int, str] = (-1, "")
        while True:
            with self._db.read() as session:
                rows, corrections = self._next(session, day, after)
                halves = halves_of(session)
            if not rows:
                return
            data = written(SCHEMA, rows, corrections)
            name = _name_of(day, digest_of(data))
            self._blobs.write(name, data)
            stored = contents_of(self._read_back(name, data), halves)
            if list(stored.rows) != rows or stored.corrections != corrections:
                raise NotArchived(f"{name} does not have the attempts that were written to it; none were removed")
            info = self._remove(name, day, data, stored)
            if info is not None:
                yield info
            after = _place_of(rows[-1])

    def _next(
        self, session: Session, day: int, after: tuple[int, str]
    ) -> tuple[list[Values], dict[str, list[dict[str, Any]]]]:
        """Attempts of the day behind a place, and what was corrected of them."""
        behind = tuple_(_began, _id) > tuple_(*map(literal, after))
        query = select(USAGE).where(_began >= day * DAY_MS, _began < (day + 1) * DAY_MS, behind, _may_go())
        query = query.order_by(_began, _id).limit(self._most_rows)
        rows: list[Values] = list(map(tuple, session.execute(query)))
        if not rows:
            return [], {}
        between = and_(_began >= _place_of(rows[0])[0], _began <= _place_of(rows[-1])[0])
        named = {row[0] for row in rows}
        found = defaultdict[str, list[dict[str, Any]]](list)
        corrections = select(UsageCorrection).join(USAGE, USAGE.c.attempt_id == UsageCorrection.attempt_id)
        for one in session.scalars(corrections.where(between).order_by(UsageCorrection.id)):
            if one.attempt_id in named:
                found[one.attempt_id].append({name: getattr(one, name) for name in CORRECTION})
        return rows, dict(found)

    def _read_back(self, name: str, data: bytes) -> bytes:
        back = self._blobs.read(name)
        if digest_of(back) != digest_of(data):
            raise NotArchived(f"the object storage gave back something else than {name}; no attempts were removed")
        return back

    def _remove(self, name: str, day: int, data: bytes, stored: Contents) -> ArchiveInfo | None:
        """Record the file and remove its rows, in one transaction; `None`: something of it has changed meanwhile, or
        another one has archived it.
        """
        leaving = USAGE.c.attempt_id.in_(select(LEAVING.c.attempt_id))
        new = _new_record(name, day, data, stored)
        with self._db.write() as session:  # what is in it keeps others from writing, on SQLite
            upsert(session, LEAVING, [{"attempt_id": row[0]} for row in stored.rows])
            there = session.scalar(select(func.count()).select_from(USAGE).where(leaving))
            sums = in_order(row for query in summed(leaving) for row in session.execute(query))
            if there == len(stored.rows) and sums == stored.sums and self._corrected(session) == stored.corrected:
                row = _record(session, new)
                leaves = select(LEAVING.c.attempt_id)
                session.connection().execute(delete(UsageCorrection).where(UsageCorrection.attempt_id.in_(leaves)))
                session.connection().execute(delete(USAGE).where(leaving))
                info = ArchiveInfo(**{field: getattr(row, field) for field in ArchiveInfo.__dataclass_fields__})
            else:
                info = None
            session.connection().execute(delete(LEAVING))
        return info

    def _corrected(self, session: Session) -> int:
        query = select(func.count()).where(UsageCorrection.attempt_id.in_(select(LEAVING.c.attempt_id)))
        return session.scalars(query).one()


def _may_go() -> ColumnElement[bool]:
    """Nothing asks for it any more: its segment is whole in the ledger, so that it never comes a second time, and no
    experiment has yet to read it.
    """
    closed = USAGE.c.segment.in_(select(UsageSegment.segment))
    return and_(or_(USAGE.c.segment.is_(None), closed), not_(USAGE.c.attempt_id.in_(select(FEED.c.attempt_id))))


_STARTED = [column.name for column in USAGE.c].index("started_at_ms")


def _place_of(row: Values) -> tuple[int, str]:
    return row[_STARTED], row[0]


def _name_of(day: int, digest: str) -> str:
    """In the object storage."""
    date = date_of(day)
    return f"{FOLDER}/{date[:7]}/{date}-{digest.removeprefix('sha256:')[:16]}.parquet"


def _new_record(name: str, day: int, data: bytes, stored: Contents) -> UsageArchive:
    return UsageArchive(
        name=name,
        day=day,
        digest=digest_of(data),
        size_bytes=len(data),
        attempts=len(stored.rows),
        corrections=stored.corrected,
        **stored.times._asdict(),
        sums=stored.sums,
        segments=segments_of(stored.rows),
    )


def _record(session: Session, new: UsageArchive) -> UsageArchive:
    """A new one, or that of the same file, which was brought back."""
    row = session.get(UsageArchive, new.name)
    if row is None:
        session.add(row := new)
    row.archived_at_ms, row.restored_at_ms = now_ms(), None
    session.flush()
    return row
