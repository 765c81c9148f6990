"""Adapters, their versions and aliases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, Float, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

import registry.bases.rows
import registry.tenants.rows  # noqa: F401 - foreign keys
from registry.tables import Base, BigId


class Adapter(Base):
    """A line of versions for one task of one tenant."""

    __tablename__ = "adapters"
    __table_args__ = (UniqueConstraint("tenant", "name"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"))
    name: Mapped[str] = mapped_column(String(63))
    created_at_ms: Mapped[int]
    answer_checks: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """`registry.outcomes.checks.AnswerChecks`: what is looked for in its answers. NULL: nothing."""


class Version(Base):
    """One immutable set of weights. `manifest_digest` names all of its bytes."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("adapter_id", "major", "minor"),
        UniqueConstraint("adapter_id", "manifest_digest"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    major: Mapped[int] = mapped_column(Integer)
    minor: Mapped[int] = mapped_column(Integer)
    manifest_digest: Mapped[str] = mapped_column(String(80))
    base_digest: Mapped[str] = mapped_column(ForeignKey("base_models.digest"))
    facts: Mapped[dict[str, Any]]
    """What `inspect` found: rank, parameters, bytes, modules."""
    lineage: Mapped[dict[str, Any]]
    quarantined: Mapped[str | None] = mapped_column(String(1000))
    """Why no engine should load it; NULL when it may be served."""
    quarantined_by_machine: Mapped[bool] = mapped_column(Boolean, default=False)
    """Whether engines' refusals put it there: then an engine that proves it ends that."""
    created_at_ms: Mapped[int]


class VersionProof(Base):
    """The effect proof of one manifest's bytes: found in the folder by `publish`, or measured later and attached."""

    __tablename__ = "version_proofs"
    manifest_digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    blob_digest: Mapped[str] = mapped_column(String(80))
    attached: Mapped[bool] = mapped_column(Boolean)
    """Whether it came after the publish, and so is no part of the manifest."""
    largest_effect: Mapped[float] = mapped_column(Float)
    """In nats, as is `noise`."""
    noise: Mapped[float] = mapped_column(Float)
    created_at_ms: Mapped[int]


class Alias(Base):
    """A movable name for a version. `etag` counts its moves: the compare-and-swap is on it."""

    __tablename__ = "aliases"
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    etag: Mapped[int]


class AliasEvent(Base):
    """Append-only history of every move of every alias; triggers refuse UPDATE and DELETE."""

    __tablename__ = "alias_events"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    alias: Mapped[str] = mapped_column(String(63))
    from_version_id: Mapped[int | None] = mapped_column(ForeignKey("versions.id"))
    to_version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    actor: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(1000))
    at_ms: Mapped[int]
