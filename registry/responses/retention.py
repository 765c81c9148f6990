"""Deleting what is too old, what an operator orders, and writing anew what was sealed with an older key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import delete, func, or_, select, tuple_

from registry.days import DAY_MS
from registry.db import Database, now_ms
from registry.responses.appending import ABOUT
from registry.responses.rows import Conversation, ConversationItem, ResponseEvents, StoredResponse
from registry.responses.sealing import Keyring
from registry.responses.store import DOCUMENT, TURN
from registry.responses.streams import place_of, thin_out
from registry.tenants.actions import PROGRAM, record_action
from registry.tenants.rows import Tenant
from registry.tenants.store import require_tenant
from registry.webhooks.outbox import OLD_SECRET, SECRET
from registry.webhooks.rows import WebhookEndpointRow

BATCH = 200
"""Responses that one transaction deletes or writes anew: it holds up others for milliseconds."""
CONVERSATIONS = 10
"""Likewise, each with all of its items."""
_RESPONSE, _CONVERSATION, _ITEM, _ENDPOINT = StoredResponse, Conversation, ConversationItem, WebhookEndpointRow
_EVENTS = ResponseEvents


def since_ms(days: int, at_ms: int) -> int:
    """The oldest moment that is kept, in milliseconds since the epoch, where things are kept for so many days."""
    return at_ms - days * DAY_MS


class Retention:
    """Over all tenants. Every method is many short transactions."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring

    def expire(self, default_days: int, *, most_batches: int) -> int:
        """Delete what is older than its tenant keeps; how many responses and conversations went.

        After so many batches the rest is left for the next time. Tenants come in any order: where there is always more
        than that, each has its turn.
        """
        now = now_ms()
        before = now - func.coalesce(Tenant.response_days, default_days) * DAY_MS
        has_old = (
            select(row.id).where(row.tenant == Tenant.name, at < before).exists()
            for row, at in ((_RESPONSE, _RESPONSE.created_at_ms), (_CONVERSATION, _CONVERSATION.used_at_ms))
        )
        with self._db.read() as session:  # in one question, as most tenants have nothing old
            old = select(Tenant.name, Tenant.response_days).where(or_(*has_old))
            tenants = session.execute(old.order_by(func.random())).all()
        gone, batches = 0, 0
        for tenant, own_days in tenants:
            before_ms = since_ms(default_days if own_days is None else own_days, now)
            for deleted in self._delete_before(tenant, before_ms):
                gone, batches = gone + deleted, batches + 1
                if batches >= most_batches:
                    return gone
        return gone

    def delete(self, tenant: str, before_ms: int | None = None, *, actor: str = PROGRAM) -> int:
        """Delete all of a tenant's that was made, or used last, before that moment, or at all; how many went.

        Raises `NotFound` without the tenant.
        """
        with self._db.write() as session:
            require_tenant(session, tenant)
            record_action(session, actor, "responses.deleted", tenant, tenant, before_ms=before_ms)
        return sum(self._delete_before(tenant, before_ms))

    def _delete_before(self, tenant: str, before_ms: int | None) -> Iterator[int]:
        """By batches, of each how many went."""
        for row, at, most in (
            (_RESPONSE, _RESPONSE.created_at_ms, BATCH),
            (_CONVERSATION, _CONVERSATION.used_at_ms, CONVERSATIONS),
        ):
            old = select(row.id).where(row.tenant == tenant).order_by(at).limit(most)
            if before_ms is not None:
                old = old.where(at < before_ms)
            while True:
                with self._db.read() as session:  # where nothing is old, no turn at writing is needed
                    ids = session.scalars(old).all()
                if not ids:
                    break
                if row is _RESPONSE:
                    thin_out(self._db, tenant, ids)
                of = row.tenant == tenant, row.id.in_(ids)
                with self._db.write() as session:  # locked in the order in which events are written down
                    session.execute(select(row.id).where(*of).order_by(row.id).with_for_update())
                    session.execute(delete(row).where(*of))
                yield len(ids)
                if len(ids) < most:
                    break

    def reseal(self) -> int:
        """Write anew what was not sealed with the first key; how many values. Raises `Unreadable`."""
        return (
            self._reseal(_RESPONSE, (_RESPONSE.tenant, _RESPONSE.id), TURN, DOCUMENT)
            + self._reseal(_EVENTS, (_EVENTS.tenant, _EVENTS.id, _EVENTS.first), "events")
            + self._reseal(_CONVERSATION, (_CONVERSATION.tenant, _CONVERSATION.id), ABOUT)
            + self._reseal(_ENDPOINT, (_ENDPOINT.tenant, _ENDPOINT.id), SECRET, OLD_SECRET)
            + self._reseal(_ITEM, (_ITEM.tenant, _ITEM.conversation_id, _ITEM.position), "item")
        )

    def _reseal(self, row: Any, key: tuple[Any, ...], *columns: str) -> int:
        changed, last = 0, None
        while True:
            query = select(row).order_by(*key).limit(BATCH)
            if last is not None:
                query = query.where(tuple_(*key) > last)
            with self._db.write() as session:
                rows = session.scalars(query.with_for_update(key_share=True)).all()  # who changes one meanwhile waits
                for one in rows:
                    last = tuple(getattr(one, column.key) for column in key)
                    for name in columns:
                        sealed = getattr(one, name)
                        if not sealed or self._keyring.is_current(sealed):
                            continue
                        where = _place(one, name)
                        value = self._keyring.open(sealed, one.tenant, *where)
                        setattr(one, name, self._keyring.seal(value, one.tenant, *where))
                        changed += 1
            if len(rows) < BATCH:
                return changed


def _place(row: Any, column: str) -> tuple[str, ...]:
    """Where a sealed value is; what has no other name there is called as its column."""
    if isinstance(row, ConversationItem):
        return row.conversation_id, row.id
    return row.id, place_of(row.first) if isinstance(row, ResponseEvents) else column
