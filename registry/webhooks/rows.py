"""Addresses that are told of events, and what they are to be told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

import registry.tenants.rows  # noqa: F401 - foreign keys
from registry.tables import Base, BigId, partial_index


class WebhookEndpointRow(Base):
    """An address of a tenant's."""

    __tablename__ = "webhook_endpoints"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    url: Mapped[str] = mapped_column(String(2_000))
    event_types: Mapped[list[Any]]
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: `whsec_…`."""
    hint: Mapped[str] = mapped_column(String(32))
    """Its last characters, for people to tell secrets apart."""
    old_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed: signs too until `old_until_ms`."""
    old_until_ms: Mapped[int | None]
    created_at_ms: Mapped[int]
    updated_at_ms: Mapped[int]
    tried_at_ms: Mapped[int | None]
    """When the last delivery ended."""
    fault: Mapped[str | None] = mapped_column(String(200))
    """What went wrong with it; NULL when it was taken."""


class WebhookDelivery(Base):
    """One event for one address."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (partial_index("ix_webhook_deliveries_due", "due_at_ms", while_null="delivered_at_ms"),)
    number: Mapped[int] = mapped_column(BigId, primary_key=True)
    event_id: Mapped[str] = mapped_column(String(40))
    """The same for all addresses that are told of it."""
    tenant: Mapped[str] = mapped_column(String(63))
    """Whose it is; `_system`: the operator's, whose address is a setting."""
    endpoint_id: Mapped[str | None] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), index=True)
    type: Mapped[str] = mapped_column(String(64))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at_ms: Mapped[int]
    attempts: Mapped[int] = mapped_column(Integer)
    """Deliveries that were begun."""
    due_at_ms: Mapped[int]
    """When the next one may begin; whoever begins one moves it on."""
    give_up_at_ms: Mapped[int] = mapped_column(index=True)
    """From then on nobody tries any more, and the row goes."""
    delivered_at_ms: Mapped[int | None]
