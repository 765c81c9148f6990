"""Where a rollback goes: asked for when one is ordered, and shown beforehand where one is offered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter, Alias, AliasEvent, Version
from registry.adapters.version_rows import require_version
from registry.errors import NotFound, RegistryError
from registry.experiments.carrying import refuse_while_running
from registry.names import AdapterRef
from registry.splits.store import active_split
from registry.swaps.queueing import refuse_while_swapped
from registry.swaps.rules import name_of, refuse_quarantined


class WayBack(NamedTuple):
    """What a rollback of an alias does: the version that has all of its traffic then, and whether a split ends so."""

    version: Version
    ends_split: bool


def way_back(session: Session, adapter: Adapter, alias: str) -> WayBack:
    """The end of the alias's split onto what it points at, or its version before.

    Raises `NotFound` at the bottom, and `InvalidInput` for a version that is quarantined.
    """
    if active_split(session, adapter.id, alias) is not None:
        current = require_version(session, adapter, AdapterRef(adapter.tenant, adapter.name, None, alias))
        if not current.quarantined:
            return WayBack(current, True)
    version = _before_top(session, adapter, alias)
    refuse_quarantined(session, adapter, version, "version")
    return WayBack(version, False)


@dataclass(frozen=True, slots=True)
class WayBackInfo:
    """`back_to` is the version that a rollback would give an alias's traffic to, `None` where `why_not` refuses it."""

    back_to: str | None
    why_not: str | None
    held: str | None = None
    """What keeps a promote from beginning too: an experiment, or another swap."""


def ways_back_of(session: Session, adapter: Adapter) -> dict[str, WayBackInfo]:
    """What a rollback of each of the adapter's aliases would do now, by alias."""
    aliases = session.scalars(select(Alias.name).where(Alias.adapter_id == adapter.id).order_by(Alias.name))
    return {alias: _info(session, adapter, alias) for alias in list(aliases)}


def _info(session: Session, adapter: Adapter, alias: str) -> WayBackInfo:
    try:
        refuse_while_running(session, adapter, alias)
        refuse_while_swapped(session, adapter, alias)
    except RegistryError as refused:
        return WayBackInfo(None, refused.message, held=refused.message)
    try:
        return WayBackInfo(name_of(session, adapter, way_back(session, adapter, alias).version.id), None)
    except RegistryError as refused:
        return WayBackInfo(None, refused.message)


def _before_top(session: Session, adapter: Adapter, alias: str) -> Version:
    """History is read as a stack: moving to the version below the top takes the top away."""
    events = session.scalars(
        select(AliasEvent).where(AliasEvent.adapter_id == adapter.id, AliasEvent.alias == alias).order_by(AliasEvent.id)
    )
    stack = _stack_of(event.to_version_id for event in events)
    if len(stack) < 2:
        raise NotFound(f"{adapter.tenant}/{adapter.name}@{alias} has no earlier version to go back to", param="alias")
    return session.get_one(Version, stack[-2])


def _stack_of(moves: Iterable[int]) -> list[int]:
    """Version ids from the oldest to the current one, without those that were rolled back."""
    stack: list[int] = []
    for version_id in moves:
        if stack[-1:] == [version_id]:
            continue
        if stack[-2:-1] == [version_id]:
            stack.pop()
        else:
            stack.append(version_id)
    return stack
