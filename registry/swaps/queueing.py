"""Rows of swaps that are asked for: one at a time for an alias."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter, Alias, Version
from registry.db import now_ms
from registry.errors import Conflict
from registry.splits.rows import BASE_ARM
from registry.swaps.infos import REQUESTED, SwapArm, SwapInfo, swap_info
from registry.swaps.rows import Swap
from registry.swaps.rules import Weighed, name_of

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession


def enqueue_ramp(
    session: WriteSession,
    adapter: Adapter,
    current: Version,
    arms: Iterable[Weighed],
    alias: str,
    actor: str,
    reason: str,
    **detail: object,
) -> SwapInfo:
    """Add the row of a swap that leaves the alias at `current`, and gives its traffic to `arms`."""
    weights = [(BASE_ARM if version is None else version.id, weight) for version, weight in arms]
    wanted = [SwapArm(name_of(session, adapter, id_), id_, weight) for id_, weight in weights]
    return enqueue(session, adapter, current, alias, actor, reason, arms=[asdict(arm) for arm in wanted], **detail)


def enqueue(
    session: WriteSession, adapter: Adapter, version: Version, alias: str, actor: str, reason: str, **detail: object
) -> SwapInfo:
    """Add the row of a swap after which the alias points at `version`; one with `arms` in its detail is a ramp."""
    current = session.get(Alias, (adapter.id, alias))
    origin = {
        "from": name_of(session, adapter, current.version_id) if current else None,
        "from_version_id": current.version_id if current else None,
    }
    row = Swap(
        adapter_id=adapter.id,
        alias=alias,
        expected_etag=current.etag if current else 0,
        to_version_id=version.id,
        state=REQUESTED,
        detail={**origin, **detail},
        actor=actor,
        reason=reason[:1000],
        requested_at_ms=now_ms(),
        finished_at_ms=None,
    )
    if not session.add_new(row):
        raise _in_the_way(session, adapter, alias)
    return swap_info(session, row)


def refuse_while_swapped(session: Session, adapter: Adapter, alias: str) -> None:
    """Raise `Conflict` while a swap of the alias goes on."""
    running = _running(session, adapter, alias)
    if running is not None:
        raise _still_running(adapter, alias, running)


def _running(session: Session, adapter: Adapter, alias: str) -> Swap | None:
    return session.scalars(
        select(Swap).where(Swap.adapter_id == adapter.id, Swap.alias == alias, Swap.finished_at_ms.is_(None))
    ).one_or_none()


def _still_running(adapter: Adapter, alias: str, running: Swap) -> Conflict:
    return Conflict(
        f"swap {running.id} of {adapter.tenant}/{adapter.name}@{alias} is still {running.state!r}; a running gateway "
        "finishes it",
        param="alias",
    )


def _in_the_way(session: Session, adapter: Adapter, alias: str) -> Conflict:
    running = _running(session, adapter, alias)
    if running is not None:
        return _still_running(adapter, alias, running)
    return Conflict(  # it has ended since it was in the way
        f"{adapter.tenant}/{adapter.name}@{alias} was changed by somebody else meanwhile; look at it and try again",
        param="alias",
    )
