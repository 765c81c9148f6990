"""What is still to be delivered: each event once for each address that wants it.

A delivery is taken up by moving `due_at_ms` on, which succeeds for one process only. If that one dies before it has
said how it went, the delivery is due again: so it is made at least once, and twice only when a process dies between the
delivery and the note of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson
from sqlalchemy import Table, delete, select, update
from sqlalchemy.orm import Session

from registry.days import DAY_MS
from registry.db import Database, now_ms
from registry.ids import new_id
from registry.names import SYSTEM
from registry.responses.sealing import Keyring, Unreadable
from registry.webhooks.rows import WebhookDelivery, WebhookEndpointRow

KEPT_MS = 3 * DAY_MS
"""How long a delivery is tried, and its row kept."""
MOST_KEPT = 5_000
"""Deliveries of one address at a time, made or not: what a tenant's jobs tell beyond that is not told to it."""
LOOKED_AT = 512
"""Due deliveries that are looked at when some are taken up: tenants have their turns among these."""
SWEPT = 1_000
"""Rows that one sweep deletes at most."""
FURTHEST_MS = 3_900_000
"""No try is put off for longer: what is due later than so long from now was put off by a clock that has been put back
since, and is due now.
"""
SECRET, OLD_SECRET = "secret", "old_secret"
TABLE = cast("Table", WebhookDelivery.__table__)
_ENDPOINTS = cast("Table", WebhookEndpointRow.__table__)
_ROW = WebhookDelivery


@dataclass(frozen=True, slots=True)
class Delivery:
    """One to be made now. `url` is `None` for the operator's address, which is a setting, and so is its secret."""

    number: int
    tenant: str
    event_id: str
    type: str
    endpoint_id: str | None
    url: str | None
    secrets: tuple[str, ...]
    body: bytes
    attempts: int


def add_event(session: Session, tenant: str, type: str, data: Mapping[str, Any], wait_ms: int = 0) -> int:
    """Tell all addresses of the tenant that want events of this type, in the caller's transaction; not before so long
    has passed. How many these are.
    """
    endpoints = session.scalars(select(WebhookEndpointRow).where(WebhookEndpointRow.tenant == tenant))
    wanting = [row.id for row in endpoints if type in row.event_types and _has_room(session, row.id)]
    _add(session, tenant, wanting, type, data, now_ms() + KEPT_MS, wait_ms)
    return len(wanting)


def _has_room(session: Session, endpoint_id: str) -> bool:
    last = select(_ROW.number).where(_ROW.endpoint_id == endpoint_id).offset(MOST_KEPT - 1).limit(1)
    return session.scalars(last).first() is None


def add_operators_event(session: Session, type: str, data: Mapping[str, Any], give_up_at_ms: int) -> None:
    """Tell the operator's address, in the caller's transaction."""
    _add(session, SYSTEM, [None], type, data, give_up_at_ms)


def event_body(event_id: str, at_ms: int, type: str, data: Mapping[str, Any]) -> bytes:
    """An event as it is sent, in OpenAI's shape."""
    return orjson.dumps(
        {"id": event_id, "object": "event", "created_at": at_ms // 1000, "type": type, "data": dict(data)}
    )


def _add(
    session: Session,
    tenant: str,
    endpoints: Collection[str | None],
    type: str,
    data: Mapping[str, Any],
    give_up_at_ms: int,
    wait_ms: int = 0,
) -> None:
    event_id, at_ms = new_id("evt"), now_ms()
    for endpoint_id in endpoints:
        session.add(
            _ROW(
                event_id=event_id,
                tenant=tenant,
                endpoint_id=endpoint_id,
                type=type,
                body=event_body(event_id, at_ms, type, data),
                created_at_ms=at_ms,
                attempts=0,
                due_at_ms=at_ms + wait_ms,
                give_up_at_ms=give_up_at_ms,
            )
        )


class Outbox:
    """The deliveries of all tenants."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring

    def take_up(self, most: int, lease_ms: int, *, most_of_one: int, busy: Mapping[str, int]) -> list[Delivery]:
        """At most so many that are due; they are the caller's, and nobody else's, for the lease.

        `busy` is how many the caller has of a tenant already: no tenant gets more than `most_of_one`.
        """
        at_ms = now_ms()
        is_due = (_ROW.due_at_ms <= at_ms) | (_ROW.due_at_ms > at_ms + FURTHEST_MS)
        due = select(_ROW).where(_ROW.delivered_at_ms.is_(None), is_due, _ROW.give_up_at_ms > at_ms)
        full = [tenant for tenant, count in busy.items() if count >= most_of_one]
        if full:
            due = due.where(_ROW.tenant.not_in(full))
        with self._db.read() as session:
            found = session.scalars(due.order_by(_ROW.due_at_ms).limit(LOOKED_AT)).all()
        counts, chosen = dict(busy), list[WebhookDelivery]()
        for row in found:
            if len(chosen) < most and counts.get(row.tenant, 0) < most_of_one:
                counts[row.tenant] = counts.get(row.tenant, 0) + 1
                chosen.append(row)
        if not chosen:
            return []
        taken = []
        with self._db.write() as session:
            for row in chosen:
                mine = update(TABLE).where(
                    TABLE.c.number == row.number, TABLE.c.delivered_at_ms.is_(None), TABLE.c.due_at_ms == row.due_at_ms
                )
                moved_on = mine.values(due_at_ms=at_ms + lease_ms, attempts=row.attempts + 1)
                if session.connection().execute(moved_on).rowcount:
                    taken.append(self._delivery(session, row, at_ms))
        return taken

    def _delivery(self, session: Session, row: WebhookDelivery, at_ms: int) -> Delivery:
        endpoint = None if row.endpoint_id is None else session.get(WebhookEndpointRow, row.endpoint_id)
        url, secrets = (None, ()) if endpoint is None else (endpoint.url, self._secrets(endpoint, at_ms))
        return Delivery(
            row.number, row.tenant, row.event_id, row.type, row.endpoint_id, url, secrets, row.body, row.attempts + 1
        )

    def _secrets(self, endpoint: WebhookEndpointRow, at_ms: int) -> tuple[str, ...]:
        """The newest first; none when they cannot be read, and then nothing is sent."""
        sealed = [(endpoint.secret, SECRET)]
        if endpoint.old_secret is not None and at_ms < (endpoint.old_until_ms or 0):
            sealed.append((endpoint.old_secret, OLD_SECRET))
        try:
            return tuple(
                self._keyring.open(value, endpoint.tenant, endpoint.id, place).decode() for value, place in sealed
            )
        except Unreadable:
            return ()

    def settle(self, delivery: Delivery, fault: str | None, wait_ms: int = 0) -> None:
        """How one went; after a fault it is due again after so long."""
        at_ms = now_ms()
        news: dict[str, Any] = {"delivered_at_ms": at_ms} if fault is None else {"due_at_ms": at_ms + wait_ms}
        with self._db.write() as session:
            session.execute(update(TABLE).where(TABLE.c.number == delivery.number).values(**news))
            if delivery.endpoint_id is not None:
                told = {"tried_at_ms": at_ms, "fault": None if fault is None else fault[:200]}
                session.execute(update(_ENDPOINTS).where(_ENDPOINTS.c.id == delivery.endpoint_id).values(**told))

    def sweep(self) -> int:
        """Delete what is given up or long delivered; how many rows."""
        old = select(_ROW.number).where(_ROW.give_up_at_ms <= now_ms()).limit(SWEPT)
        with self._db.read() as session:
            numbers = session.scalars(old).all()
        if numbers:
            with self._db.write() as session:
                session.execute(delete(TABLE).where(TABLE.c.number.in_(numbers)))
        return len(numbers)
