"""Adding items to a conversation, within a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import Any, cast

import orjson
from sqlalchemy import Table, insert, select, update
from sqlalchemy.orm import Session

from registry.db import now_ms
from registry.responses.rows import Conversation, ConversationItem
from registry.responses.sealing import Keyring
from registry.responses.turns import Item

ABOUT = "about"
"""The place of a conversation's own sealed value, behind its id."""


def append(
    session: Session, keyring: Keyring, tenant: str, conversation_id: str, items: Sequence[Item], *, unit: str | None
) -> list[Item] | None:
    """Add items at the end, and return them as they are there; `None` when there is no such conversation.

    An item whose id is there already gets another one. `unit` becomes the conversation's, if it has none. Whether there
    is room is asked before: what a model has answered is never refused here, as nobody would pay for it.
    """
    of = (Conversation.tenant == tenant, Conversation.id == conversation_id)
    found = session.execute(select(Conversation.next_position, Conversation.about).where(*of).with_for_update()).first()
    if found is None:
        return None
    position, sealed = found
    added = _with_new_ids(session, tenant, conversation_id, items)
    rows = [
        {
            "tenant": tenant,
            "conversation_id": conversation_id,
            "position": position + number,
            "id": item["id"],
            "item": keyring.seal(orjson.dumps(item), tenant, conversation_id, item["id"]),
        }
        for number, item in enumerate(added)
    ]
    if rows:
        session.execute(insert(cast("Table", ConversationItem.__table__)), rows)
    values: dict[str, Any] = {"next_position": position + len(rows), "used_at_ms": now_ms()}
    about = orjson.loads(keyring.open(sealed, tenant, conversation_id, ABOUT))
    if unit is not None and about["unit"] is None:
        values["about"] = keyring.seal(orjson.dumps({**about, "unit": unit}), tenant, conversation_id, ABOUT)
    session.execute(update(Conversation).where(*of).values(values))
    return added


def _with_new_ids(session: Session, tenant: str, conversation_id: str, items: Sequence[Item]) -> list[Item]:
    """The same items, of which no two have one id, nor one that is there already."""
    row = ConversationItem
    ids = [item["id"] for item in items]
    of = (row.tenant == tenant, row.conversation_id == conversation_id, row.id.in_(ids))
    taken = set(session.scalars(select(row.id).where(*of)))
    added = []
    for item in items:
        id_ = item["id"]
        if id_ in taken:
            id_ = f"{id_.partition('_')[0][:20]}_{token_hex(24)}"
        taken.add(id_)
        added.append(item if id_ == item["id"] else {**item, "id": id_})
    return added
