"""What waits in the outbox of webhooks."""

from __future__ import annotations

from sqlalchemy import func, select

from registry.db import now_ms
from registry.webhooks.outbox import Outbox
from registry.webhooks.rows import WebhookDelivery


def undelivered(outbox: Outbox) -> int:
    """How many deliveries wait."""
    row = WebhookDelivery
    waiting = select(func.count()).where(row.delivered_at_ms.is_(None), row.give_up_at_ms > now_ms())
    with outbox._db.read() as session:
        return session.scalars(waiting).one()
