"""How far a day that is over has been looked at for tenants that cost much more than usual; telling of these, and
keeping what was found.

Tenants are looked at in the order of their names. Who moves the mark on tells of what was found before it, in the same
transaction: of two that look at the same tenants one moves it, so each day and tenant is told of once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from sqlalchemy import Table, delete, select, update

from registry.db import Database, now_ms
from registry.ledger.rows import CostJump, JumpLook
from registry.tenants.rows import Tenant
from registry.upsert import upsert
from registry.webhooks.outbox import KEPT_MS, add_event, add_operators_event

EVENT_TYPE = "cost.anomaly"
KEPT_DAYS = 31
"""For how many days it is known that they were looked at, and what was found."""
Told = Literal["nobody", "tenants", "everybody"]
"""Who hears of a jump: the tenants that want to, or the operator too."""
_LOOKS = cast("Table", JumpLook.__table__)
_JUMPS = cast("Table", CostJump.__table__)


class JumpLooks:
    """The mark of each day."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin(self, day: int) -> str | None:
        """After which tenant the look at that day goes on; `None`: it has ended. Forgets old days."""
        with self._db.write() as session:
            upsert(session, JumpLook, [{"day": day, "looked_until": "", "ended_at_ms": None, "keeps": True}])
            for table in (_LOOKS, _JUMPS):
                session.execute(delete(table).where(table.c.day < day - KEPT_DAYS))
            row = session.scalars(select(JumpLook).where(JumpLook.day == day)).one()
            return row.looked_until if row.ended_at_ms is None else None

    def move_on(
        self, day: int, after: str, until: str, found: Mapping[str, Mapping[str, Any]], told: Told = "everybody"
    ) -> bool:
        """Tenants after the one and up to the other were looked at, and these had a jump, which is told and kept.
        False, and neither is done, if somebody else has moved the mark on.
        """
        mine = (_LOOKS.c.day == day, _LOOKS.c.looked_until == after, _LOOKS.c.ended_at_ms.is_(None))
        with self._db.write() as session:
            moved = update(_LOOKS).where(*mine).values(looked_until=until)
            if not session.connection().execute(moved).rowcount:
                return False
            there = select(Tenant.name).where(Tenant.name.in_(found), Tenant.deleted_at_ms.is_(None))
            kept = [{"day": day, "tenant": tenant, "said": dict(found[tenant])} for tenant in session.scalars(there)]
            upsert(session, CostJump, kept, replace=("said",))
            for tenant, data in found.items() if told != "nobody" else ():
                add_event(session, tenant, EVENT_TYPE, data)
                if told == "everybody":
                    add_operators_event(session, EVENT_TYPE, data, now_ms() + KEPT_MS)
            return True

    def end(self, day: int) -> None:
        """All tenants of the day were looked at."""
        with self._db.write() as session:
            session.execute(update(_LOOKS).where(_LOOKS.c.day == day).values(looked_until="", ended_at_ms=now_ms()))

    def kept(self, first: int, end: int, tenant: str | None = None) -> dict[int, list[dict[str, Any]]]:
        """What was found, by tenant, of each of the days `[first, end)` that was looked at to its end. A day that is
        not there was not, or what was found is not kept.
        """
        whole = select(JumpLook.day).where(
            JumpLook.day >= first, JumpLook.day < end, JumpLook.ended_at_ms.is_not(None), JumpLook.keeps
        )
        jumps = select(CostJump.day, CostJump.said).where(CostJump.day >= first, CostJump.day < end)
        if tenant is not None:
            jumps = jumps.where(CostJump.tenant == tenant)
        with self._db.read() as session:
            found: dict[int, list[dict[str, Any]]] = {day: [] for day in session.scalars(whole)}
            for day, said in session.execute(jumps.order_by(CostJump.tenant)):
                if day in found:
                    found[day].append(said)
            return found
