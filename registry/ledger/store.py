"""Usage rows and dated prices. Everything here is append-only; money is integer nano-dollars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, case, exists, func, or_, select

from registry.adapters.rows import Adapter
from registry.archive.reading import archived_rows
from registry.archive.rows import UsageArchive
from registry.bulk import Appender
from registry.days import DAY_MS
from registry.db import Database, now_ms
from registry.ledger.corrections import Corrected, Reprice, insert_correction
from registry.ledger.rows import USAGE, USAGE_DAYS
from registry.ledger.segments import Link, SegmentEntry, audit_rows, insert_entries
from registry.ledger.usage_days import BILLED, sum_again
from registry.ledger.usage_record import Values, values_of
from registry.names import SYSTEM, parse_ref


@dataclass(frozen=True, slots=True)
class SecondCount:
    """Attempts on one version that began within one second; `failed` leaves refusals of bad requests out."""

    second_ms: int
    served_model: str
    attempts: int
    failed: int
    first_ms: int
    last_ms: int


OLD_MS = 7 * DAY_MS
"""Younger attempts are in no archive."""
_STARTED, _SEGMENT = (USAGE.c.keys().index(name) for name in ("started_at_ms", "segment"))


def _joined(counts: Iterable[SecondCount]) -> list[SecondCount]:
    """One of each second and version, in their order."""
    found: dict[tuple[int, str], SecondCount] = {}
    for one in counts:
        key = one.second_ms, one.served_model
        known = found.get(key, SecondCount(*key, 0, 0, one.first_ms, one.last_ms))
        found[key] = SecondCount(
            *key,
            known.attempts + one.attempts,
            known.failed + one.failed,
            min(known.first_ms, one.first_ms),
            max(known.last_ms, one.last_ms),
        )
    return [found[key] for key in sorted(found)]


class Ledger:
    """Writes usage idempotently and sums it; keeps the dated prices."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._usage = Appender(db.engine, USAGE, passes_known=True)

    def book(self, rows: Sequence[Values]) -> int:
        """Store attempts in one transaction, ignoring those stored before; how many were new."""
        if rows and min(row[_STARTED] for row in rows) < now_ms() - OLD_MS:
            rows = self._not_archived(rows)
        return self._usage.append(rows) if rows else 0

    def _not_archived(self, rows: Sequence[Values]) -> Sequence[Values]:
        """Without those of segments that an archive has rows of: all of such a segment was in the ledger before. Who
        was killed between its last two steps with one, and starts again after months, brings it once more.
        """
        began = [row[_STARTED] for row in rows]
        kept = UsageArchive
        query = select(kept.segments).where(kept.first_ms <= max(began), kept.last_ms >= min(began))
        with self._db.read() as session:
            known = {segment for segments in session.scalars(query) for segment in segments}
        return [row for row in rows if row[_SEGMENT] not in known]

    def record(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """The same, of rows by their columns' names; columns that are missing are unknown."""
        return self.book([values_of(row) for row in rows])

    def close_segments(self, entries: Sequence[SegmentEntry]) -> None:
        """Journal segments of which every row is recorded: from now on `audit` misses rows that go."""
        insert_entries(self._db, entries)

    def audit(self, on_disk: Sequence[Link]) -> list[str]:
        """What is wrong with rows and segments, a sentence each. `on_disk` are segments whose files are there."""
        return audit_rows(self._db, on_disk)

    def correct(
        self, attempt_id: str, reason: str, actor: str, deltas: Mapping[str, int], reprice: Reprice | None = None
    ) -> Corrected:
        """Book differences to an attempt's tokens or cost; see `registry.ledger.corrections` for what is refused."""
        return insert_correction(self._db, attempt_id, reason, actor, deltas, reprice)

    def sum_again(self) -> None:
        """Make the sums that reports and budgets read anew, from the rows. Nobody else can write meanwhile."""
        with self._db.write() as session:
            sum_again(session)

    def per_second(self, adapter: str, since_ms: int, until_ms: int) -> list[SecondCount]:
        """Attempts on each version of `tenant/adapter` by the second in which they began, in `[since_ms, until_ms)`.
        Raises `ArchiveUnreadable`.
        """
        row, ref = USAGE.c, parse_ref(adapter)
        second = row.started_at_ms - row.started_at_ms % 1000
        of_old = row.served_model.startswith(f"{adapter}@", autoescape=True)
        query = (
            select(
                second,
                row.served_model,
                func.count(),
                func.sum(case((row.outcome.not_in((*BILLED, "rejected")), 1), else_=0)),
                func.min(row.started_at_ms),
                func.max(row.started_at_ms),
            )
            .where(row.tenant == ref.tenant, row.started_at_ms >= since_ms, row.started_at_ms < until_ms)
            .where(row.shadow.is_not(True))
            .group_by(second, row.served_model)
        )
        by_name = select(Adapter.id).where(Adapter.tenant == ref.tenant, Adapter.name == ref.adapter)
        with self._db.read() as session:
            of_adapter = row.adapter_id == (session.scalar(by_name) or 0)
            query = query.where(or_(of_adapter, and_(row.adapter_id.is_(None), of_old)))
            (archived,) = archived_rows(session, [query], [(since_ms, until_ms)])
            return _joined(SecondCount(*found) for found in (*session.execute(query), *archived))

    def started_after(self, served_model: str, after_ms: int, until_ms: int) -> int:
        """Attempts that an alias led to this version and that began in `(after_ms, until_ms)`.

        Requests that named the version itself are not counted: they may go on for ever. Raises `ArchiveUnreadable`.
        """
        row, ref = USAGE.c, parse_ref(served_model)
        query = select(func.count()).where(
            row.served_model == served_model,
            row.started_at_ms > after_ms,
            row.started_at_ms < until_ms,
            row.requested_model.not_in((served_model, f"{ref.adapter}@{ref.version}")),
            row.shadow.is_not(True),
        )
        with self._db.read() as session:
            (archived,) = archived_rows(session, [query], [(after_ms, until_ms)])
            return session.execute(query).scalar_one() + sum(int(found[0]) for found in archived)

    def recent(self, limit: int, tenant: str | None = None) -> list[dict[str, Any]]:
        """The newest attempts, newest first, as plain fields; those of `_system` only when they are asked for. Those in
        archives, which are older, are not among them.
        """
        row = USAGE.c
        query = select(USAGE).order_by(row.started_at_ms.desc(), row.attempt_id).limit(limit)
        query = query.where(row.tenant == tenant if tenant is not None else row.tenant != SYSTEM)
        with self._db.read() as session:
            return [dict(found) for found in session.execute(query).mappings()]

    def span_ms(self) -> tuple[int, int] | None:
        """Start of the first attempt and end of the last, also of our own probes; `None` when no tenant has used
        anything.
        """
        tenants = exists().where(USAGE_DAYS.c.tenant != SYSTEM)
        query = select(func.min(USAGE_DAYS.c.first_ms), func.max(USAGE_DAYS.c.last_ms)).where(tenants)
        with self._db.read() as session:
            first, last = session.execute(query).one()
        return None if first is None or last is None else (first, last)
