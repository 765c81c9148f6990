"""What feedback is about: found in the ledger by an answer's request, or made of a unit's name."""

from __future__ import annotations

from sqlalchemy import and_, or_, select

from registry.db import Database
from registry.ledger.rows import USAGE
from registry.outcomes.said import Subject
from registry.splits.rows import Split

_C = USAGE.c


class Subjects:
    """Of all tenants. Every method blocks."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def of_requests(self, tenant: str, request_ids: set[str]) -> dict[str, Subject]:
        """Those of the tenant's requests that have ended and are in the ledger; of several attempts the one that
        succeeded counts, else the last.
        """
        query = select(_C.request_id, _C.outcome, _C.adapter_id, _C.split_id, _C.arm, _C.unit_hash)
        mine = and_(_C.request_id.in_(request_ids), _C.tenant == tenant, or_(_C.shadow.is_(None), ~_C.shadow))
        found: dict[str, Subject] = {}
        ok: set[str] = set()
        with self._db.read() as session:
            for request_id, outcome, adapter_id, split_id, arm, unit_hash in session.execute(
                query.where(mine).order_by(_C.request_id, _C.started_at_ms, _C.attempt_id)
            ):
                if request_id not in ok:
                    found[request_id] = Subject(adapter_id, request_id, split_id, arm, unit_hash)
                if outcome == "ok":
                    ok.add(request_id)
        return found

    def salt(self, adapter_id: int, alias: str) -> tuple[int, bytes] | None:
        """Id and salt of the split that runs on an alias, or ran there last; `None`: there was none yet."""
        query = select(Split.id, Split.salt).where(Split.adapter_id == adapter_id, Split.alias == alias)
        with self._db.read() as session:
            row = session.execute(query.order_by(Split.id.desc()).limit(1)).first()
        return None if row is None else (row[0], row[1].encode())
