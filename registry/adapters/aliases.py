"""Aliases of an adapter: where they point, how they are moved, and their history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter, Alias, AliasEvent
from registry.adapters.version_rows import version_names
from registry.db import now_ms
from registry.errors import Conflict
from registry.etags import alias_etag
from registry.splits.rows import BASE, Split

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One line of an alias's history."""

    alias: str
    from_version: str | None
    to_version: str
    actor: str
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AliasInfo:
    """Where an alias points. `arms` are version → 1/10,000 of its traffic while it is split."""

    alias: str
    version: str
    etag: str
    arms: dict[str, int]


def aliases_of(session: Session, adapter: Adapter) -> list[AliasInfo]:
    """The adapter's aliases by name."""
    names = version_names(session, adapter)
    splits = session.scalars(select(Split).where(Split.adapter_id == adapter.id, Split.ended_at_ms.is_(None)))
    base = f"{adapter.tenant}/{adapter.name}@{BASE}"
    arms = {split.alias: {names.get(arm[0], base): arm[1] for arm in split.arms} for split in splits}
    rows = session.scalars(select(Alias).where(Alias.adapter_id == adapter.id).order_by(Alias.name))
    return [AliasInfo(row.name, names[row.version_id], alias_etag(row.etag), arms.get(row.name, {})) for row in rows]


def moves_of(session: Session, adapter: Adapter) -> list[AliasMove]:
    """Moves of all the adapter's aliases, oldest first."""
    names = version_names(session, adapter)
    rows = session.scalars(select(AliasEvent).where(AliasEvent.adapter_id == adapter.id).order_by(AliasEvent.id))
    return [
        AliasMove(
            row.alias,
            names[row.from_version_id] if row.from_version_id else None,
            names[row.to_version_id],
            row.actor,
            row.reason,
            row.at_ms,
        )
        for row in rows
    ]


def move_alias(
    session: WriteSession,
    *,
    adapter_id: int,
    alias: str,
    to_version_id: int,
    expected_etag: int,
    actor: str,
    reason: str,
) -> None:
    """Compare-and-swap of an alias, with its line of history, inside the caller's transaction.

    `expected_etag` is 0 for an alias that must not exist yet. Raises `Conflict` when somebody moved it meanwhile.
    """
    row = require_unmoved(session, adapter_id, alias, expected_etag)
    session.add(
        AliasEvent(
            adapter_id=adapter_id,
            alias=alias,
            from_version_id=row.version_id if row else None,
            to_version_id=to_version_id,
            actor=actor,
            reason=reason,
            at_ms=now_ms(),
        )
    )
    if row is None:
        if not session.add_new(Alias(adapter_id=adapter_id, name=alias, version_id=to_version_id, etag=1)):
            raise _moved_meanwhile(alias)
    else:
        row.version_id = to_version_id
        row.etag += 1


def require_unmoved(session: Session, adapter_id: int, alias: str, expected_etag: int) -> Alias | None:
    """The alias's row, locked; `None` when it does not exist and `expected_etag` is 0. Raises `Conflict`."""
    row = session.get(Alias, (adapter_id, alias), with_for_update=True)
    if (row.etag if row else 0) != expected_etag:
        raise _moved_meanwhile(alias)
    return row


def _moved_meanwhile(alias: str) -> Conflict:
    return Conflict(f"alias {alias!r} was moved by somebody else meanwhile; look at it and try again", param="alias")
