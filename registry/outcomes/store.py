"""Outcomes in the database: added and read, and never changed.

Who copies them elsewhere reads on from the last id that he saw (`after`). Ids are given out under one lock, held to the
end of the transaction, so that no smaller one comes to light later. Experiments read those of a unit, when it is mature
(`registry.experiments.valuing`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, cast

import orjson
from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from registry.adapters.version_rows import require_adapter
from registry.backends import OUTCOMES_LOCK, number_in_order
from registry.bulk import Appender
from registry.db import Database, now_ms
from registry.names import AdapterRef
from registry.outcomes.rows import Outcome, OutcomeAmount
from registry.outcomes.said import (
    FeedbackIsFull,
    KeyOfOtherFeedback,
    NewOutcome,
    OutcomeRow,
    Said,
    Source,
    Subject,
    TakenFeedback,
)
from registry.responses.sealing import Keyring
from registry.upsert import upsert

TABLE = cast("Table", Outcome.__table__)
COLUMNS = tuple(column.name for column in TABLE.columns if column.name != "id")
WORDS = "words"
READ_AT_ONCE = 5_000
"""Rows of one increment."""
_ROW = Outcome
_FOR_ANALYSIS = tuple(TABLE.c[name] for name in OutcomeRow._fields)


class Outcomes:
    """Those of all tenants. Thread-safe; every method blocks."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring
        self._appender = Appender(db.engine, TABLE, COLUMNS)

    # Adding

    def add(self, source: Source, outcomes: Sequence[tuple[str, NewOutcome]], most: int) -> set[str]:
        """Add what we have found, by tenant, in one transaction; the tenants of which some was left out, because they
        have `most` of this source already.
        """
        at_ms = now_ms()
        with self._db.write() as session:
            number_in_order(session, OUTCOMES_LOCK)
            room = self._room(session, {tenant for tenant, _ in outcomes}, source, most)
            rows, full = [], set()
            for tenant, new in outcomes:
                if room[tenant] <= 0:
                    full.add(tenant)
                    continue
                room[tenant] -= 1
                rows.append(self._row(tenant, source, at_ms, new, keyed=False))
            self._insert(session, source, rows)
        return full

    def give(self, tenant: str, pieces: Sequence[NewOutcome], most: int) -> list[TakenFeedback]:
        """Take a tenant's feedback, all of it or none; what was given before is not added again.

        Raises `KeyOfOtherFeedback`; `FeedbackIsFull` when the tenant has `most` already.
        """
        at_ms = now_ms()
        with self._db.write() as session:
            number_in_order(session, OUTCOMES_LOCK)
            known = self._given(session, tenant, {piece.key_digest for piece in pieces})
            rows: dict[str, tuple[Any, ...]] = {}
            taken = []
            for number, piece in enumerate(pieces):
                key, content = piece.key_digest, piece.said.digest(piece.subject)
                before = known.get(key)
                if before is not None and before[0] != content:
                    raise KeyOfOtherFeedback(piece.key or "", number)
                if before is None:
                    rows[key] = self._row(tenant, "feedback", at_ms, piece, keyed=True)
                    known[key] = content, at_ms
                about, replayed = piece.subject, before is not None
                taken.append(
                    TakenFeedback(
                        f"fb_{key}",
                        known[key][1],
                        piece.said,
                        about.request_id,
                        about.unit_hash,
                        about.arm,
                        replayed=replayed,
                    )
                )
            if rows and self._room(session, {tenant}, "feedback", most)[tenant] < len(rows):
                raise FeedbackIsFull(f"{most} pieces of feedback are kept of this tenant, the most there may be")
            self._insert(session, "feedback", list(rows.values()))
        return taken

    def _given(self, session: Session, tenant: str, keys: Collection[str]) -> dict[str, tuple[str, int]]:
        """By digest of its key: the digest of what it says, and when it came."""
        query = select(_ROW.key_digest, _ROW.content_digest, _ROW.at_ms)
        rows = session.execute(query.where(_ROW.tenant == tenant, _ROW.key_digest.in_(keys)))
        return {str(key): (str(content), at_ms) for key, content, at_ms in rows}

    def _room(self, session: Session, tenants: Collection[str], source: str, most: int) -> Counter[str]:
        query = select(OutcomeAmount.tenant, OutcomeAmount.outcomes)
        rows = session.execute(query.where(OutcomeAmount.tenant.in_(tenants), OutcomeAmount.source == source))
        return Counter({**dict.fromkeys(tenants, most), **{tenant: most - there for tenant, there in rows}})

    def _row(self, tenant: str, source: str, at_ms: int, new: NewOutcome, *, keyed: bool) -> tuple[Any, ...]:
        """The values of `COLUMNS`."""
        about, said = new.subject, new.said
        words = None
        if said.label is not None or said.comment is not None:
            written = orjson.dumps({"label": said.label, "comment": said.comment})
            words = self._keyring.seal(written, tenant, about.name, said.metric, WORDS)
        keys = (new.key_digest, said.digest(about)) if keyed else (None, None)
        return (
            tenant,
            source,
            at_ms,
            about.adapter_id,
            about.request_id,
            about.split_id,
            about.arm,
            about.unit_hash,
            said.metric,
            said.kind,
            said.value,
            words,
            *keys,
        )

    def _insert(self, session: Session, source: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        self._appender.insert(session.connection().exec_driver_sql, rows)
        counts = Counter(row[0] for row in rows)
        amounts = [{"tenant": one, "source": source, "outcomes": count} for one, count in sorted(counts.items())]
        upsert(session, OutcomeAmount, amounts, add=("outcomes",))

    # Reading

    def after(self, adapter_id: int, cursor: int, most: int = READ_AT_ONCE) -> list[OutcomeRow]:
        """The next rows of an adapter's, in the order of their ids; the last one's is the cursor to go on from."""
        query = select(*_FOR_ANALYSIS).where(_ROW.adapter_id == adapter_id, _ROW.id > cursor)
        with self._db.read() as session:
            return [OutcomeRow(*row) for row in session.execute(query.order_by(_ROW.id).limit(most))]

    def exported(self, ref: AdapterRef, cursor: int, most: int) -> list[OutcomeRow]:
        """The same, of an adapter by its name. Raises `NotFound`."""
        with self._db.read() as session:
            adapter_id = require_adapter(session, ref).id
        return self.after(adapter_id, cursor, most)

    def feedback(self, tenant: str, before: str | None, limit: int, **which: str) -> list[TakenFeedback]:
        """A tenant's, the newest first, those given before the one with that id; `which`: values of columns."""
        query = select(_ROW).where(_ROW.tenant == tenant, _ROW.source == "feedback")
        for name, value in which.items():
            query = query.where(TABLE.c[name] == value)
        if before is not None:
            key = before.removeprefix("fb_")
            last = select(_ROW.id).where(_ROW.tenant == tenant, _ROW.key_digest == key).scalar_subquery()
            query = query.where(_ROW.id < last)
        with self._db.read() as session:
            rows = session.scalars(query.order_by(_ROW.id.desc()).limit(limit)).all()
        return [self._taken(row) for row in rows]

    def _taken(self, row: Outcome) -> TakenFeedback:
        """Raises `Unreadable`."""
        words: dict[str, str | None] = {"label": None, "comment": None}
        if row.words is not None:
            subject = Subject(row.adapter_id, row.request_id, row.split_id, row.arm, row.unit_hash)
            words = orjson.loads(self._keyring.open(row.words, row.tenant, subject.name, row.metric, WORDS))
        said = Said(row.metric, cast("Any", row.kind), row.value, **words)
        return TakenFeedback(f"fb_{row.key_digest}", row.at_ms, said, row.request_id, row.unit_hash, row.arm)
