"""Shadows end in the transaction of whoever ends them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.db import now_ms
from registry.shadows.rows import Shadow
from registry.tenants.actions import PROGRAM, record_action

NO_CONSENT = "the tenant does not consent any more"


def end_shadows_of(session: Session, tenant: str, *, actor: str) -> None:
    """All of a tenant's that run, as it has withdrawn its consent: workers end the copies that run, too."""
    running = select(Shadow).join(Adapter, Adapter.id == Shadow.adapter_id)
    for row in session.scalars(running.where(Adapter.tenant == tenant, Shadow.ended_at_ms.is_(None)).with_for_update()):
        end_shadow(session, row, why=NO_CONSENT, actor=actor)


def end_shadow(session: Session, row: Shadow, *, why: str, actor: str = PROGRAM) -> None:
    """End one in the caller's transaction, unless it has ended."""
    if row.ended_at_ms is not None:
        return
    row.ended_at_ms, row.ended_why = now_ms(), why[:200]
    adapter = session.get_one(Adapter, row.adapter_id)
    subject = f"{adapter.tenant}/{adapter.name}@{row.alias}"
    record_action(session, actor, "shadow.ended", adapter.tenant, subject, id=row.id, why=row.ended_why)
