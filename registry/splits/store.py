"""Sticky weighted splits of an alias's traffic between versions. Swaps begin and end them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Version
from registry.adapters.version_rows import require_adapter
from registry.db import Database, now_ms
from registry.errors import Conflict
from registry.names import AdapterRef
from registry.splits.ranges import change, lay_out, ranges_of
from registry.splits.rows import BASE, BASE_ARM, Split
from registry.splits.salts import new_salt

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """A split as it can be listed: arms in their fixed order, weights in 1/10,000."""

    id: int
    adapter: str
    alias: str
    salt: str
    arms: tuple[tuple[str, int], ...]
    started_at_ms: int
    ended_at_ms: int | None
    experiment_id: int | None = None
    """Whose policy decides on it; `None`: a person does."""


class Splits:
    """The splits of all adapters; at most one is active for an alias."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def history(self, ref: AdapterRef) -> list[SplitInfo]:
        """All splits of an adapter, oldest first."""
        with self._db.read() as session:
            adapter = require_adapter(session, ref)
            rows = session.scalars(select(Split).where(Split.adapter_id == adapter.id).order_by(Split.id))
            return [_info(session, ref.adapter_name, row) for row in rows]


def active_split(session: Session, adapter_id: int, alias: str) -> Split | None:
    """The row of the split that runs, if one does."""
    return session.scalars(
        select(Split).where(Split.adapter_id == adapter_id, Split.alias == alias, Split.ended_at_ms.is_(None))
    ).one_or_none()


def end_split(session: Session, adapter_id: int, alias: str) -> Split | None:
    """End the split that runs, inside the caller's transaction, and return its row."""
    split = active_split(session, adapter_id, alias)
    if split is not None:
        split.ended_at_ms = now_ms()
        session.flush()  # before another one begins: the database allows one at a time
    return split


def begin_split(
    session: WriteSession,
    adapter_id: int,
    alias: str,
    arms: Sequence[tuple[int, int]],
    before: Split | None,
    experiment: tuple[int, str] | None = None,
) -> Split:
    """Add a split by `(version id, weight in 1/10,000)` to the caller's transaction.

    Arms are in the order of version numbers. The split that ran `before` is continued when only its weights change, or
    arms come or go: with its salt, and with as few units moved as the weights allow. Where one version takes another's
    place units are drawn anew. Raises `Conflict` when one runs.

    `experiment` is the id and the salt of the one that it is of: its splits continue each other and no others.
    """
    of, salt = experiment or (None, new_salt())
    continued = (
        before is not None
        and before.experiment_id == of
        and _comes_or_goes({arm for arm, _ in before.arms}, {arm for arm, _ in arms})
    )
    split = Split(
        adapter_id=adapter_id,
        alias=alias,
        salt=before.salt if before is not None and continued else salt,
        arms=[[version_id, weight] for version_id, weight in arms],
        ranges=change(ranges_of(before.arms, before.ranges), arms)
        if before is not None and continued
        else lay_out(arms),
        started_at_ms=now_ms(),
        ended_at_ms=None,
        experiment_id=of,
    )
    if not session.add_new(split):
        raise Conflict(f"alias {alias!r} was split by somebody else meanwhile; look at it and try again", param="alias")
    return split


def _comes_or_goes(before: set[int], after: set[int]) -> bool:
    return before <= after or after <= before


def _info(session: Session, adapter_name: str, row: Split) -> SplitInfo:
    arms = []
    for version_id, weight in row.arms:
        if version_id == BASE_ARM:
            arms.append((BASE, weight))
            continue
        version = session.get_one(Version, version_id)
        arms.append((f"{version.major}.{version.minor}", weight))
    return SplitInfo(
        row.id,
        adapter_name,
        row.alias,
        row.salt,
        tuple(arms),
        row.started_at_ms,
        row.ended_at_ms,
        row.experiment_id,
    )
