"""Who changed what of tenants, keys, model names and added engines: a line a change, in its transaction, for ever.

Moves of aliases have a history of their own (`alias_events`), and swaps theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.tenants.rows import AdminAction

PROGRAM = "program"
"""Who does what no person asked for, such as making samples."""


@dataclass(frozen=True, slots=True)
class ActionInfo:
    """One change. `subject` is a tenant's name, a key's id, `tenant/external name`, or an engine's URL, and `tenant`
    then `_system`.
    """

    id: int
    at_ms: int
    actor: str
    action: str
    tenant: str
    subject: str
    detail: dict[str, Any]


def record_action(session: Session, actor: str, action: str, tenant: str, subject: str, **detail: object) -> None:
    """Write it down, in the caller's transaction. `detail` never has a secret or its hash."""
    session.add(
        AdminAction(
            at_ms=now_ms(), actor=actor[:100], action=action, tenant=tenant, subject=subject, detail=dict(detail)
        )
    )


class Actions:
    """The changes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def page(self, before: int | None, limit: int, tenant: str | None = None) -> list[ActionInfo]:
        """Newest first, those with an id below `before`, of one tenant or of all."""
        query = select(AdminAction).order_by(AdminAction.id.desc()).limit(limit)
        if before is not None:
            query = query.where(AdminAction.id < before)
        if tenant is not None:
            query = query.where(AdminAction.tenant == tenant)
        with self._db.read() as session:
            return [
                ActionInfo(row.id, row.at_ms, row.actor, row.action, row.tenant, row.subject, row.detail)
                for row in session.scalars(query)
            ]
