"""Shadows in the database: begun with the tenant's consent, within a budget, one at a time for an alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter, Version
from registry.adapters.version_rows import require_adapter, require_version, version_names
from registry.days import day_number
from registry.db import Database, now_ms
from registry.errors import Conflict, NotFound
from registry.money import nano_to_dollars
from registry.names import PRODUCTION, AdapterRef, check_name
from registry.shadows.consent import require_consent
from registry.shadows.ending import end_shadow
from registry.shadows.pairs import PAIRED
from registry.shadows.rows import Shadow, ShadowCount, ShadowDay
from registry.shadows.terms import Terms, check_terms
from registry.tenants.actions import PROGRAM, record_action
from registry.upsert import upsert

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession

TIME_IS_OVER = "its time was over"


@dataclass(frozen=True, slots=True)
class ShadowInfo:
    """A shadow as it can be listed."""

    id: int
    adapter: str
    alias: str
    candidate: str
    """`tenant/adapter@MAJOR.MINOR`."""
    share: int
    """In 1/10,000."""
    requests_per_day: int
    budget_nano: int | None
    until_ms: int
    experiment_id: int | None
    actor: str
    started_at_ms: int
    ended_at_ms: int | None
    ended_why: str | None
    sent_today: int
    """Copies that workers were allowed to send on this UTC day."""
    spent_nano: int
    """What its copies have cost, which no tenant pays."""
    counts: Mapping[str, int]
    """Of the requests that were to be copied: `paired`, and by cause those of which a side is missing."""

    @property
    def paired(self) -> int:
        """Pairs of two whole answers."""
        return self.counts.get(PAIRED, 0)

    @property
    def orphans(self) -> int:
        """Requests that were to be copied and have not become a pair."""
        return sum(self.counts.values()) - self.paired


@dataclass(frozen=True, slots=True)
class Grant:
    """How many copies a worker may send; where they are none, `why` is the cause by which they are counted."""

    number: int
    why: str = ""


class Shadows:
    """The shadows of all adapters."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin(
        self, ref: AdapterRef, terms: Terms, *, alias: str = PRODUCTION, actor: str, experiment_id: int | None = None
    ) -> ShadowInfo:
        """Copy requests of the alias to the version that `ref` names. Raises as `begin_shadow`."""
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            version = require_version(session, adapter, ref)
            row = begin_shadow(session, adapter, version, terms, alias=alias, actor=actor, experiment_id=experiment_id)
            return _info(session, row)

    def end(self, shadow_id: int, *, why: str, actor: str = PROGRAM) -> ShadowInfo:
        """End it; workers send no copy of it within a second. Ending it twice is no error. Raises `NotFound`."""
        with self._db.write() as session:
            row = _require(session, shadow_id, lock=True)
            end_shadow(session, row, why=why, actor=actor)
            return _info(session, row)

    def end_due(self) -> int:
        """End those whose time is over; how many."""
        over = select(Shadow.id).where(Shadow.ended_at_ms.is_(None), Shadow.until_ms <= now_ms())
        with self._db.read() as session:
            due = session.scalars(over).all()
        for shadow_id in due:
            self.end(shadow_id, why=TIME_IS_OVER)
        return len(due)

    def get(self, shadow_id: int) -> ShadowInfo:
        """One of them; raises `NotFound`."""
        with self._db.read() as session:
            return _info(session, _require(session, shadow_id))

    def page(self, ref: AdapterRef | None, before: int | None, limit: int | None) -> list[ShadowInfo]:
        """Of one adapter or of all, newest first, those with an id below `before`. Raises `NotFound`."""
        query = select(Shadow).order_by(Shadow.id.desc()).limit(limit)
        with self._db.read() as session:
            if ref is not None:
                query = query.where(Shadow.adapter_id == require_adapter(session, ref).id)
            if before is not None:
                query = query.where(Shadow.id < before)
            return [_info(session, row) for row in session.scalars(query)]

    def take(self, shadow_id: int, wanted: int) -> Grant:
        """Permission to send copies: never more a day than the shadow has, and none when its dollars are spent, which
        ends it.
        """
        now = now_ms()
        with self._db.write() as session:
            row = session.get(Shadow, shadow_id, with_for_update=True)
            if row is None or row.ended_at_ms is not None or row.until_ms <= now:
                return Grant(0, "ended")
            if row.budget_nano is not None and _spent(session, shadow_id) >= row.budget_nano:
                end_shadow(session, row, why=f"its budget of ${nano_to_dollars(row.budget_nano)} is spent")
                return Grant(0, "budget")
            day = _day(session, shadow_id, day_number(now))
            number = max(0, min(wanted, row.requests_per_day - day.taken))
            day.taken += number
            return Grant(number, "" if number else "requests_per_day")

    def give_back(self, shadow_id: int, number: int, at_ms: int) -> None:
        """Copies that were allowed at that moment, and that a worker has not sent."""
        with self._db.write() as session:
            day = session.get(ShadowDay, (shadow_id, day_number(at_ms)), with_for_update=True)
            if day is not None:
                day.taken = max(0, day.taken - number)


def begin_shadow(
    session: WriteSession,
    adapter: Adapter,
    version: Version,
    terms: Terms,
    *,
    alias: str = PRODUCTION,
    actor: str,
    experiment_id: int | None = None,
) -> Shadow:
    """Begin one in the caller's transaction.

    Raises `InvalidInput` for terms that cannot be, without the tenant's consent, and for a candidate that other engines
    would serve; `NotFound` without the alias; `Conflict` while another one runs there.
    """
    name = f"{adapter.tenant}/{adapter.name}"
    check_name(alias, "alias")
    require_consent(session, adapter.tenant, lock=True)
    check_terms(session, adapter, version, terms, alias)
    row = Shadow(
        adapter_id=adapter.id,
        alias=alias,
        version_id=version.id,
        share=terms.share,
        requests_per_day=terms.requests_per_day,
        budget_nano=terms.budget_nano,
        until_ms=now_ms() + terms.lasts_ms,
        experiment_id=experiment_id,
        actor=actor[:100],
        started_at_ms=now_ms(),
        ended_at_ms=None,
        ended_why=None,
    )
    if not session.add_new(row):
        raise Conflict(
            f"a shadow of {name}@{alias} runs already; `switchyard experiments shadows` shows it, and "
            "`switchyard experiments shadow-stop ID` ends it",
            param="alias",
        )
    record_action(session, actor, "shadow.begun", adapter.tenant, f"{name}@{alias}", id=row.id, version_id=version.id)
    return row


def _require(session: Session, shadow_id: int, *, lock: bool = False) -> Shadow:
    row = session.get(Shadow, shadow_id, with_for_update=lock)
    if row is None:
        raise NotFound(f"there is no shadow {shadow_id}; `switchyard experiments shadows` shows the ids", param="id")
    return row


def _day(session: WriteSession, shadow_id: int, day: int) -> ShadowDay:
    upsert(session, ShadowDay, [{"shadow_id": shadow_id, "day": day, "taken": 0, "spent_nano": 0}])
    return session.get_one(ShadowDay, (shadow_id, day), with_for_update=True)


def _spent(session: Session, shadow_id: int) -> int:
    total = select(func.coalesce(func.sum(ShadowDay.spent_nano), 0)).where(ShadowDay.shadow_id == shadow_id)
    return int(session.scalars(total).one())


def _info(session: Session, row: Shadow) -> ShadowInfo:
    adapter = session.get_one(Adapter, row.adapter_id)
    counts = session.execute(
        select(ShadowCount.cause, ShadowCount.number).where(ShadowCount.shadow_id == row.id).order_by(ShadowCount.cause)
    )
    today = session.get(ShadowDay, (row.id, day_number(now_ms())))
    return ShadowInfo(
        id=row.id,
        adapter=f"{adapter.tenant}/{adapter.name}",
        alias=row.alias,
        candidate=version_names(session, adapter)[row.version_id],
        share=row.share,
        requests_per_day=row.requests_per_day,
        budget_nano=row.budget_nano,
        until_ms=row.until_ms,
        experiment_id=row.experiment_id,
        actor=row.actor,
        started_at_ms=row.started_at_ms,
        ended_at_ms=row.ended_at_ms,
        ended_why=row.ended_why,
        sent_today=0 if today is None else today.taken,
        spent_nano=_spent(session, row.id),
        counts=dict(counts.all()),
    )
