"""Splits whose traffic is not spread over units: one unit is so much of it that weights and comparisons mean little.

Gateways count units; what they find is kept here, one row for each split and worker, for commands to show.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, select

from registry.db import Database, now_ms
from registry.splits.rows import SplitUnits
from registry.upsert import upsert

MOST_OF_ONE_UNIT = 0.05
"""A larger share of a split's traffic is too much for one unit."""
LEAST_REQUESTS = 200
"""Of fewer requests nothing is said: a single conversation is much of them."""

_REMEDY = "name units with the header X-Switchyard-Unit or metadata.conversation_id"
_REMEDIES = {
    "first_turn": f"its chats begin with the same messages; {_REMEDY}",
    "prompt": f"its completions have the same prompt; {_REMEDY}",
    "header": "they have the same X-Switchyard-Unit; give each conversation its own",
    "conversation_id": "they have the same metadata.conversation_id; give each conversation its own",
    "stored": "they go on from the same stored response or conversation",
    "end_user": "they name the same end user; say safety_identifier or user of the person who asks",
}
"""By where the unit came from."""


@dataclass(frozen=True, slots=True)
class SplitSkew:
    """How many of a split's requests are of the one unit that has the most."""

    split_id: int
    source: str
    """Where that unit came from, as usage rows have it."""
    requests: int
    of_one_unit: int

    @property
    def share(self) -> float:
        """Of the requests, 0 to 1."""
        return self.of_one_unit / self.requests if self.requests else 0.0

    @property
    def alarming(self) -> bool:
        """Whether an operator should hear of it."""
        return self.requests >= LEAST_REQUESTS and self.share > MOST_OF_ONE_UNIT

    def __str__(self) -> str:
        return (
            f"one unit is {self.share:.0%} of the last {self.requests} requests of split {self.split_id}, and goes "
            f"to one arm as a whole: {_REMEDIES[self.source]}"
        )


class SplitSkews:
    """What workers have found of splits."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def note(self, worker: str, skews: Collection[SplitSkew]) -> None:
        """Keep these instead of what this worker had found of the same splits."""
        noted = {"worker": worker, "noted_at_ms": now_ms()}
        with self._db.write() as session:
            rows = [{**asdict(skew), **noted} for skew in skews]
            upsert(session, SplitUnits, rows, replace=("source", "requests", "of_one_unit", "noted_at_ms"))

    def alarming(self, split_id: int) -> SplitSkew | None:
        """The worst that a worker has found of a split, if an operator should hear of it."""
        return self._worst(SplitUnits.split_id == split_id).get(split_id)

    def all_alarming(self) -> dict[int, SplitSkew]:
        """The same of every split of which an operator should hear, by its id; those that have ended too."""
        return self._worst(SplitUnits.requests >= LEAST_REQUESTS)

    def _worst(self, which: ColumnElement[bool]) -> dict[int, SplitSkew]:
        with self._db.read() as session:
            rows = session.scalars(select(SplitUnits).where(which))
            found = [SplitSkew(row.split_id, row.source, row.requests, row.of_one_unit) for row in rows]
        return {skew.split_id: skew for skew in sorted(found, key=lambda skew: skew.share) if skew.alarming}
