"""Sticky weighted splits of an alias's traffic between versions."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters import require_adapter, require_version
from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound
from registry.models import Split, Version
from registry.names import PRODUCTION, AdapterRef, VersionNumber

FULL_WEIGHT = 10_000
"""Weights are in 1/10,000 of the traffic."""


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


class Experiments:
    """The splits of all adapters; at most one is active for an alias."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def start_split(self, ref: AdapterRef, weights: Mapping[str, int], *, alias: str = PRODUCTION) -> SplitInfo:
        """Split the alias's traffic by `{"1.0": 9000, "1.1": 1000}`; ends the split that ran before.

        A split of the same versions keeps its salt and order, so changing weights moves as few units as it can.
        Raises `InvalidInput` when the weights do not sum to 10,000 or a version is quarantined, and `NotFound`.
        """
        if len(weights) < 2 or any(weight < 0 for weight in weights.values()) or sum(weights.values()) != FULL_WEIGHT:
            raise InvalidInput(
                f"weights are {dict(weights)}; "
                f"give at least two versions and weights that sum to {FULL_WEIGHT} (100 %)",
                param="weights",
            )
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            numbers = sorted(VersionNumber.parse(text) for text in weights)
            rows = [
                require_version(session, adapter, AdapterRef(ref.tenant, ref.adapter, number, None))
                for number in numbers
            ]
            for row, number in zip(rows, numbers, strict=True):
                if row.quarantined:
                    raise InvalidInput(
                        f"{ref.adapter_name}@{number} is quarantined: {row.quarantined}", param="weights"
                    )
            require_version(session, adapter, AdapterRef(ref.tenant, ref.adapter, None, alias))
            before = _active(session, adapter.id, alias)
            salt = secrets.token_hex(16)
            if before is not None:
                before.ended_at_ms = now_ms()
                if [arm[0] for arm in before.arms] == [row.id for row in rows]:
                    salt = before.salt
            split = Split(
                adapter_id=adapter.id,
                alias=alias,
                salt=salt,
                arms=[[row.id, weights[str(number)]] for row, number in zip(rows, numbers, strict=True)],
                started_at_ms=now_ms(),
                ended_at_ms=None,
            )
            session.add(split)
            session.flush()
            return _info(session, ref.adapter_name, split)

    def end_split(self, ref: AdapterRef, *, alias: str = PRODUCTION) -> SplitInfo:
        """Give the alias's whole traffic back to the version it points at; raises `NotFound` when nothing is split."""
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            split = _active(session, adapter.id, alias)
            if split is None:
                raise NotFound(f"{ref.adapter_name}@{alias} is not split", param="alias")
            split.ended_at_ms = now_ms()
            return _info(session, ref.adapter_name, split)

    def history(self, ref: AdapterRef) -> list[SplitInfo]:
        """All splits of an adapter, oldest first."""
        with self._db.read() as session:
            adapter = require_adapter(session, ref)
            rows = session.scalars(select(Split).where(Split.adapter_id == adapter.id).order_by(Split.id))
            return [_info(session, ref.adapter_name, row) for row in rows]


def _active(session: Session, adapter_id: int, alias: str) -> Split | None:
    return session.scalars(
        select(Split).where(Split.adapter_id == adapter_id, Split.alias == alias, Split.ended_at_ms.is_(None))
    ).one_or_none()


def _info(session: Session, adapter_name: str, row: Split) -> SplitInfo:
    arms = []
    for version_id, weight in row.arms:
        version = session.get_one(Version, version_id)
        arms.append((f"{version.major}.{version.minor}", weight))
    return SplitInfo(row.id, adapter_name, row.alias, row.salt, tuple(arms), row.started_at_ms, row.ended_at_ms)
