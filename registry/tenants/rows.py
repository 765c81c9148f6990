"""Tenants, their keys and model names, and what was done to them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import Base, BigId


class Tenant(Base):
    """A customer of the installation."""

    __tablename__ = "tenants"
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    allow_unknown_fields: Mapped[bool] = mapped_column(Boolean, default=False)
    response_days: Mapped[int | None]
    """How long its responses and conversations are kept; 0: never stored; `NULL`: as long as the gateway's setting."""
    max_stored_records: Mapped[int | None]
    """Most responses, conversations and items that are kept for it; `NULL`: as the gateway's setting."""
    max_stored_bytes: Mapped[int | None]
    """Likewise, their bytes in the database."""
    shadow_consent: Mapped[bool] = mapped_column(Boolean, default=False)
    """Whether its requests may be copied to a candidate version."""
    pair_days: Mapped[int | None]
    """How long the texts of copied requests are kept; 0: only figures are; `NULL`: as long as the gateway's setting."""
    weight: Mapped[int] = mapped_column(default=1)
    """Its share of engines that are full, beside that of others."""
    created_at_ms: Mapped[int]
    deleted_at_ms: Mapped[int | None]
    """From then on there is no such tenant. The row stays, as books refer to its name, which nobody gets again."""
    emptied_at_ms: Mapped[int | None]
    """When nothing was left of what is deleted with it, and nothing can come any more."""


class ApiKey(Base):
    """A bearer key; only its SHA-256 is stored."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"), index=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    shown: Mapped[str] = mapped_column(String(32))
    """First and last characters, for people to tell keys apart."""
    label: Mapped[str] = mapped_column(String(100))
    scopes: Mapped[list[Any]]
    created_at_ms: Mapped[int]
    revoked_at_ms: Mapped[int | None]
    expires_at_ms: Mapped[int | None]
    """From then on it opens nothing; `NULL`: it has no end."""
    adapters: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    """`tenant/adapter`, sorted: all that it opens of the tenant's adapters; `NULL`: every one."""


class ModelMap(Base):
    """An external model name of a tenant (`gpt-4o-mini-2024-07-18`) and what it stands for here."""

    __tablename__ = "model_maps"
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"), primary_key=True)
    external: Mapped[str] = mapped_column(String(256), primary_key=True)
    target: Mapped[str] = mapped_column(String(200))
    created_at_ms: Mapped[int]


class AdminAction(Base):
    """Append-only (by triggers): who changed what of tenants, keys, model names and added engines."""

    __tablename__ = "admin_actions"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at_ms: Mapped[int]
    actor: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(40))
    tenant: Mapped[str] = mapped_column(String(63), index=True)
    subject: Mapped[str] = mapped_column(String(320))
    detail: Mapped[dict[str, Any]]
