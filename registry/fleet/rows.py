"""Processes, engines, and what each of them says."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import Base


class Worker(Base):
    """A gateway process that serves, with the newest catalog revision that it has in force."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    url: Mapped[str] = mapped_column(String(200))
    acknowledged_revision: Mapped[int]
    heartbeat_at_ms: Mapped[int]


class ControllerLease(Base):
    """One row: which process may change the fleet, until when, and the token that tells its term from earlier ones."""

    __tablename__ = "controller_lease"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    token: Mapped[int]
    holder: Mapped[str] = mapped_column(String(100))
    address: Mapped[str] = mapped_column(String(300))
    expires_at_ms: Mapped[int]
    key: Mapped[str] = mapped_column(String(64))
    """Of the links between the holder and its workers, made anew with each term."""


class EngineDrain(Base):
    """An engine that takes no new requests, by an operator's order."""

    __tablename__ = "engine_drains"
    url: Mapped[str] = mapped_column(String(200), primary_key=True)
    actor: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(1000))
    since_ms: Mapped[int]


class AddedEngineRow(Base):
    """An engine that an operator has added to the fleet."""

    __tablename__ = "engines"
    url: Mapped[str] = mapped_column(String(200), primary_key=True)
    declared: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What it is, as the gateway declares engines; never its key."""
    actor: Mapped[str] = mapped_column(String(100))
    added_at_ms: Mapped[int]
    removed_at_ms: Mapped[int | None]
    """When it was ordered to go; the row goes when no request runs on it any more."""


class EngineReading(Base):
    """An engine's own count of tokens at one moment of one boot, to hold the ledger against. Append-only."""

    __tablename__ = "engine_readings"
    engine: Mapped[str] = mapped_column(String(200), primary_key=True)
    boot_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """When its process began: counters start from 0 with each."""
    asked_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """The figures are of a moment between this and `answered_ms`."""
    answered_ms: Mapped[int]
    steps: Mapped[int]
    prompt_tokens: Mapped[int]
    generation_tokens: Mapped[int]
