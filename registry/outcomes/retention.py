"""Deleting outcomes that are too old or that an operator wants gone, and sealing words anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, select, update

from registry.days import DAY_MS
from registry.db import Database, now_ms
from registry.outcomes.rows import Outcome, OutcomeAmount
from registry.outcomes.said import Subject
from registry.outcomes.store import TABLE, WORDS
from registry.responses.sealing import Keyring
from registry.tenants.actions import PROGRAM, record_action
from registry.tenants.store import require_tenant

BATCH = 1_000
"""Rows that one transaction deletes or writes anew."""
_ROW, _AMOUNT = Outcome, OutcomeAmount


class OutcomeRetention:
    """Over all tenants. Every method is many short transactions."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring

    def expire(self, days: int, *, most_batches: int) -> int:
        """Delete what is older than so many days, and leave the rest for the next time after so many batches; how many
        went.
        """
        return self._delete(_ROW.at_ms < now_ms() - days * DAY_MS, most_batches)

    def delete(self, tenant: str, before_ms: int | None = None, *, actor: str = PROGRAM) -> int:
        """Delete all outcomes of a tenant's that came in before that moment, or at all; how many went.

        Raises `NotFound` without the tenant.
        """
        with self._db.write() as session:
            require_tenant(session, tenant)
            record_action(session, actor, "outcomes.deleted", tenant, tenant, before_ms=before_ms)
        old = _ROW.tenant == tenant
        return self._delete(old if before_ms is None else old & (_ROW.at_ms < before_ms))

    def amounts(self, tenant: str | None = None) -> list[tuple[str, str, int]]:
        """How many outcomes there are, by tenant and source."""
        query = select(_AMOUNT.tenant, _AMOUNT.source, _AMOUNT.outcomes).where(_AMOUNT.outcomes > 0)
        if tenant is not None:
            query = query.where(_AMOUNT.tenant == tenant)
        with self._db.read() as session:
            rows = session.execute(query.order_by(_AMOUNT.tenant, _AMOUNT.source))
            return [(owner, source, outcomes) for owner, source, outcomes in rows]

    def _delete(self, old: ColumnElement[bool], most_batches: int | None = None) -> int:
        gone = batches = 0
        while most_batches is None or batches < most_batches:
            with self._db.read() as session:  # where nothing is old, no turn at writing is needed
                ids: Sequence[int] = session.scalars(select(_ROW.id).where(old).limit(BATCH)).all()
            if not ids:
                break
            with self._db.write() as session:
                deleted = delete(TABLE).where(_ROW.id.in_(ids)).returning(_ROW.tenant, _ROW.source)
                counts = Counter((tenant, source) for tenant, source in session.execute(deleted))
                for (tenant, source), count in sorted(counts.items()):
                    of_these = (_AMOUNT.tenant == tenant, _AMOUNT.source == source)
                    session.execute(update(_AMOUNT).where(*of_these).values(outcomes=_AMOUNT.outcomes - count))
            gone, batches = gone + sum(counts.values()), batches + 1
        return gone

    def reseal(self) -> int:
        """Write anew what was not sealed with the first key; how many values. Raises `Unreadable`."""
        changed = last = 0
        while True:
            query = select(_ROW).where(_ROW.id > last, _ROW.words.is_not(None)).order_by(_ROW.id).limit(BATCH)
            with self._db.write() as session:
                rows = session.scalars(query).all()
                for row in rows:
                    last = row.id
                    assert row.words is not None
                    if self._keyring.is_current(row.words):
                        continue
                    subject = Subject(row.adapter_id, row.request_id, row.split_id, row.arm, row.unit_hash)
                    place = (subject.name, row.metric, WORDS)
                    row.words = self._keyring.seal(
                        self._keyring.open(row.words, row.tenant, *place), row.tenant, *place
                    )
                    changed += 1
            if len(rows) < BATCH:
                return changed
