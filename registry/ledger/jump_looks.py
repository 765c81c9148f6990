"""How far a day that is over has been looked at for tenants that cost much more than usual, and telling of these.

Tenants are looked at in the order of their names. Who moves the mark on tells of what was found before it, in the same
transaction: of two that look at the same tenants one moves it, so each day and tenant is told of once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Table, delete, select, update

from registry.db import Database, now_ms
from registry.ledger.rows import JumpLook
from registry.upsert import upsert
from registry.webhooks.outbox import KEPT_MS, add_event, add_operators_event

EVENT_TYPE = "cost.anomaly"
KEPT_DAYS = 31
"""For how many days it is known that they were looked at."""
_LOOKS = cast("Table", JumpLook.__table__)


class JumpLooks:
    """The mark of each day."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin(self, day: int) -> str | None:
        """After which tenant the look at that day goes on; `None`: it has ended. Forgets old days."""
        with self._db.write() as session:
            upsert(session, JumpLook, [{"day": day, "looked_until": "", "ended_at_ms": None}])
            session.execute(delete(_LOOKS).where(_LOOKS.c.day < day - KEPT_DAYS))
            row = session.scalars(select(JumpLook).where(JumpLook.day == day)).one()
            return row.looked_until if row.ended_at_ms is None else None

    def move_on(self, day: int, after: str, until: str, found: Mapping[str, Mapping[str, Any]], *, tells: bool) -> bool:
        """Tenants after the one and up to the other were looked at, and these had a jump: each is told, and with
        `tells` the operator. False, and nobody is told, if somebody else has moved the mark on.
        """
        mine = (_LOOKS.c.day == day, _LOOKS.c.looked_until == after, _LOOKS.c.ended_at_ms.is_(None))
        with self._db.write() as session:
            moved = update(_LOOKS).where(*mine).values(looked_until=until)
            if not session.connection().execute(moved).rowcount:
                return False
            for tenant, data in found.items():
                add_event(session, tenant, EVENT_TYPE, data)
                if tells:
                    add_operators_event(session, EVENT_TYPE, data, now_ms() + KEPT_MS)
            return True

    def end(self, day: int) -> None:
        """All tenants of the day were looked at."""
        with self._db.write() as session:
            session.execute(update(_LOOKS).where(_LOOKS.c.day == day).values(looked_until="", ended_at_ms=now_ms()))
