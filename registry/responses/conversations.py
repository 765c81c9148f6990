"""Conversations in the database. Every question names tenant and id together, so another tenant's id is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Literal

import orjson
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import InvalidInput
from registry.responses.appending import ABOUT, append
from registry.responses.rows import Conversation, ConversationItem
from registry.responses.sealing import Keyring
from registry.responses.turns import Item, NoSuchTurn, Recalled, TooLong, require_possible

_ROW, _ITEM = Conversation, ConversationItem
MOST_ITEMS = 20_000
"""Of one conversation in its life, but for those of turns that had begun before."""
READ_AT_ONCE = 16
"""Items in memory that have not been looked at: each may be as long as a body."""
MOST_PAGE_BYTES = 4 << 20
"""Of the items of one page as JSON: one that would be longer ends sooner, but has one item at least."""


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """A conversation without its items."""

    id: str
    created_at_ms: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Some items in order, and whether there are more behind them."""

    items: list[Item]
    has_more: bool


class Conversations:
    """The conversations of all tenants. `since_ms`: what was used last before that is too old for its tenant."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring

    def create(self, tenant: str, items: Sequence[Item], metadata: Mapping[str, Any]) -> ConversationInfo:
        """A new one that begins with these items."""
        id_, at_ms = f"conv_{token_hex(24)}", now_ms()
        about = self._keyring.seal(orjson.dumps({"metadata": metadata, "unit": None}), tenant, id_, ABOUT)
        with self._db.write() as session:
            session.add(
                _ROW(tenant=tenant, id=id_, created_at_ms=at_ms, used_at_ms=at_ms, next_position=0, about=about)
            )
            session.flush()
            append(session, self._keyring, tenant, id_, items, unit=None)
        return ConversationInfo(id_, at_ms, metadata)

    def get(self, tenant: str, id_: str, since_ms: int) -> ConversationInfo:
        """One of them. Raises `NoSuchTurn`, `Unreadable`."""
        with self._db.read() as session:
            return self._info(tenant, self._require(session, tenant, id_, since_ms))

    def set_metadata(self, tenant: str, id_: str, since_ms: int, metadata: Mapping[str, Any]) -> ConversationInfo:
        """Replace what a client says about it. Raises `NoSuchTurn`, `Unreadable`."""
        with self._db.write() as session:
            row = self._require(session, tenant, id_, since_ms, lock=True)
            about = {**self._about(tenant, row), "metadata": metadata}
            row.about = self._keyring.seal(orjson.dumps(about), tenant, id_, ABOUT)
            return ConversationInfo(id_, row.created_at_ms, metadata)

    def delete(self, tenant: str, id_: str, since_ms: int) -> None:
        """Delete it with its items; the responses that were made in it stay. Raises `NoSuchTurn`."""
        of = (_ROW.tenant == tenant, _ROW.id == id_, _ROW.used_at_ms >= since_ms)
        with self._db.write() as session:
            if session.execute(delete(_ROW).where(*of).returning(_ROW.id)).first() is None:
                raise NoSuchTurn("conversation", id_)

    def add(self, tenant: str, id_: str, since_ms: int, items: Sequence[Item]) -> list[Item]:
        """Add items at its end, and return them as they are there. Raises `NoSuchTurn`, `InvalidInput`."""
        with self._db.write() as session:
            row = self._require(session, tenant, id_, since_ms, lock=True)
            if row.next_position + len(items) > MOST_ITEMS:
                raise InvalidInput(
                    f"items are too many: a conversation has at most {MOST_ITEMS}; begin another", param="items"
                )
            added = append(session, self._keyring, tenant, id_, items, unit=None)
        if added is None:
            raise NoSuchTurn("conversation", id_)
        return added

    def page(
        self, tenant: str, id_: str, since_ms: int, after: str | None, limit: int, order: Literal["asc", "desc"]
    ) -> Page:
        """Items in this order that come after the item `after`: `limit` of them, or fewer that are long.

        Raises `NoSuchTurn`, `Unreadable`.
        """
        query = select(_ITEM).where(_ITEM.tenant == tenant, _ITEM.conversation_id == id_).limit(limit + 1)
        query = query.order_by(_ITEM.position.asc() if order == "asc" else _ITEM.position.desc())
        with self._db.read() as session:
            self._require(session, tenant, id_, since_ms)
            if after is not None:
                last = self._require_item(session, tenant, id_, after).position
                query = query.where(_ITEM.position > last if order == "asc" else _ITEM.position < last)
            items: list[Item] = []
            length = 0
            with session.scalars(query, execution_options={"yield_per": READ_AT_ONCE}) as rows:
                for row in rows:
                    raw = self._raw(row)
                    length += len(raw)
                    if len(items) == limit or (items and length > MOST_PAGE_BYTES):
                        return Page(items, has_more=True)
                    items.append(orjson.loads(raw))
        return Page(items, has_more=False)

    def item(self, tenant: str, id_: str, since_ms: int, item_id: str) -> Item:
        """One item. Raises `NoSuchTurn`, `Unreadable`."""
        with self._db.read() as session:
            self._require(session, tenant, id_, since_ms)
            return self._opened(self._require_item(session, tenant, id_, item_id))

    def delete_item(self, tenant: str, id_: str, since_ms: int, item_id: str) -> ConversationInfo:
        """Delete one item; the conversation that it was of. Raises `NoSuchTurn`, `Unreadable`."""
        with self._db.write() as session:
            row = self._require(session, tenant, id_, since_ms)
            session.delete(self._require_item(session, tenant, id_, item_id))
            return self._info(tenant, row)

    def recall(self, tenant: str, id_: str, since_ms: int, most_bytes: int) -> Recalled:
        """All of its items, before a turn that adds some. Raises `NoSuchTurn`, `TooLong`, `Unreadable`."""
        items: list[Item] = []
        length = 0
        of = (_ITEM.tenant == tenant, _ITEM.conversation_id == id_)
        with self._db.read() as session:
            row = self._require(session, tenant, id_, since_ms)
            if row.next_position >= MOST_ITEMS:
                raise TooLong(f"conversation {id_} has got {MOST_ITEMS} items, which are the most")
            query = select(_ITEM).where(*of).order_by(_ITEM.position)
            with session.scalars(query, execution_options={"yield_per": READ_AT_ONCE}) as rows:
                for one in rows:
                    raw = self._raw(one)
                    length += len(raw)
                    if length > most_bytes:
                        raise TooLong(f"conversation {id_} has more than {most_bytes} bytes")
                    items.append(orjson.loads(raw))
            unit = self._about(tenant, row)["unit"]
        return Recalled(items, length, id_ if unit is None else unit)

    def _require(self, session: Session, tenant: str, id_: str, since_ms: int, *, lock: bool = False) -> Conversation:
        query = select(_ROW).where(_ROW.tenant == tenant, _ROW.id == id_, _ROW.used_at_ms >= since_ms)
        row = session.scalars(query.with_for_update() if lock else query).first()
        if row is None:
            raise NoSuchTurn("conversation", id_)
        return row

    def _require_item(self, session: Session, tenant: str, id_: str, item_id: str) -> ConversationItem:
        require_possible("item", item_id)
        of = (_ITEM.tenant == tenant, _ITEM.conversation_id == id_, _ITEM.id == item_id)
        row = session.scalars(select(_ITEM).where(*of)).first()
        if row is None:
            raise NoSuchTurn("item", item_id)
        return row

    def _about(self, tenant: str, row: Conversation) -> dict[str, Any]:
        about: dict[str, Any] = orjson.loads(self._keyring.open(row.about, tenant, row.id, ABOUT))
        return about

    def _info(self, tenant: str, row: Conversation) -> ConversationInfo:
        return ConversationInfo(row.id, row.created_at_ms, self._about(tenant, row)["metadata"])

    def _opened(self, row: ConversationItem) -> Item:
        item: Item = orjson.loads(self._raw(row))
        return item

    def _raw(self, row: ConversationItem) -> bytes:
        return self._keyring.open(row.item, row.tenant, row.conversation_id, row.id)
