"""What tenants' Responses leave behind: responses, conversations with their items, runs in the background and their
streams, and how much it is.

What a client has written, and what a model has answered, is in the sealed columns alone (`registry.responses.sealing`).
"""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

import registry.tenants.rows  # noqa: F401 - foreign keys
from registry.tables import Base

ID_CHARS = 80
"""The most that an id of a response, a conversation or an item has."""


class StoredResponse(Base):
    """One response. Its id means something only together with its tenant."""

    __tablename__ = "responses"
    __table_args__ = (Index("ix_responses_tenant_created", "tenant", "created_at_ms"),)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(32))
    created_at_ms: Mapped[int]
    status: Mapped[str] = mapped_column(String(20))
    """In force, whatever the document says that was written with it."""
    model: Mapped[str] = mapped_column(String(256))
    """As the client asked for it."""
    background: Mapped[bool] = mapped_column(Boolean)
    previous_id: Mapped[str | None] = mapped_column(String(ID_CHARS))
    conversation_id: Mapped[str | None] = mapped_column(String(ID_CHARS))
    turn: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: the input items, and the unit of its conversation; empty where they are with the document."""
    document: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: as the client got it, with the output items; and behind a line's end what `turn` does not have."""


class Conversation(Base):
    """A conversation that a client has made; items are added to it by hand, or by responses."""

    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_tenant_used", "tenant", "used_at_ms"),)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    created_at_ms: Mapped[int]
    used_at_ms: Mapped[int]
    """When something was added to it last."""
    next_position: Mapped[int]
    """Of the item that is added next. Whoever adds some has this row locked."""
    about: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: its metadata, and the unit that its responses have."""


class ConversationItem(Base):
    """One item of a conversation."""

    __tablename__ = "conversation_items"
    __table_args__ = (
        Index("ux_conversation_items_id", "tenant", "conversation_id", "id", unique=True),
        ForeignKeyConstraint(
            ["tenant", "conversation_id"], ["conversations.tenant", "conversations.id"], ondelete="CASCADE"
        ),
    )
    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(String(ID_CHARS))
    item: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed."""


class BackgroundRun(Base):
    """A response that a worker makes in the background; the row is gone when it has ended."""

    __tablename__ = "background_runs"
    __table_args__ = (ForeignKeyConstraint(["tenant", "id"], ["responses.tenant", "responses.id"], ondelete="CASCADE"),)
    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    worker: Mapped[str] = mapped_column(String(140), index=True)
    """`registry.fleet.rows.Worker.id`."""


class ResponseEvents(Base):
    """Some events, one behind the other, of the stream of a response that is made in the background."""

    __tablename__ = "response_events"
    __table_args__ = (ForeignKeyConstraint(["tenant", "id"], ["responses.tenant", "responses.id"], ondelete="CASCADE"),)
    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """The number of the first of them."""
    count: Mapped[int]
    ended: Mapped[bool] = mapped_column(Boolean)
    """Whether none follows."""
    events: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: as they went out."""


class StoredAmount(Base):
    """How much is stored of one tenant's; triggers keep it right (migrations 0029 and 0061)."""

    __tablename__ = "stored_amounts"
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True)
    records: Mapped[int]
    """Responses, conversations, and items of conversations."""
    bytes: Mapped[int]
    """Of what is sealed in them, and in events of responses."""
