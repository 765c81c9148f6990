"""Attempts in archives: nothing is lost, nothing is there twice, and whoever asks for them finds them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from registry.days import DAY_MS
from registry.ledger.rows import USAGE, USAGE_DAYS, UsageCorrection
from registry.ledger.segments import RowsDigest, SegmentEntry
from registry.ledger.usage_record import TOKENS, values_of
from registry.service import Registry
from tests.registry.test_usage_days import drawn, figures

DAYS = 4
OLD = DAYS * DAY_MS
WRITERS = ("w-1", "other-2")


def closed(registry: Registry, rows: Sequence[dict[str, Any]]) -> None:
    """Give the ledger entries of the segments of these rows, as the shipper does when it has shipped them whole."""
    for writer in WRITERS:
        previous = ""
        of_writer = sorted({row["segment"] for row in rows if row["segment"] and f"-{writer}-" in row["segment"]})
        for number, segment in enumerate(of_writer, start=1):
            own = [row for row in rows if row["segment"] == segment]
            digest = RowsDigest()
            for row in own:
                digest.add(values_of(row))
            entry = SegmentEntry(
                segment=segment, writer=writer, sequence=number, records=2 * len(own), intents=len(own),
                attempts=len(own), **{name: sum(row[name] or 0 for row in own) for name in TOKENS}, digest=segment,
                previous_digest=previous, last=number == len(of_writer), faults=0, rows_digest=str(digest),
            )  # fmt: skip
            registry.ledger.close_segments([entry])
            previous = segment


def stocked(registry: Registry, seed: int = 1, count: int = 300) -> list[dict[str, Any]]:
    """Attempts of four old days and corrections of some."""
    rows = [row | {"tenant": row["tenant"] if row["segment"] else "_system"} for row in drawn(seed, count)]
    registry.ledger.record(rows)
    closed(registry, rows)
    for row in [row for row in rows if row["prompt_tokens"]][:20]:
        registry.ledger.correct(row["attempt_id"], "a test", "me", {"prompt_tokens": 1, "cost_nano": 3})
    assert registry.ledger.audit([]) == []
    return rows


def whole(registry: Registry) -> tuple[Any, ...]:
    """Everything in the ledger but the ids of corrections."""
    with registry.db.read() as session:
        corrections = select(*(c for c in UsageCorrection.__table__.c if c.name != "id"))
        return (
            sorted(map(tuple, session.execute(select(USAGE))), key=lambda row: row[0]),
            sorted(map(tuple, session.execute(corrections))),
            sorted(map(tuple, session.execute(select(USAGE_DAYS))), key=lambda row: row[:-2]),
        )


def left(registry: Registry) -> int:
    with registry.db.read() as session:
        return session.scalars(select(func.count()).select_from(USAGE)).one()


def test_any_window_comes_to_the_same_when_its_attempts_are_archived_and_when_they_are_back(registry: Registry) -> None:
    stocked(registry)
    before, draw = whole(registry), random.Random(6)
    edges = [0, DAY_MS, 2 * DAY_MS, OLD, *(draw.randrange(OLD) for _ in range(6))]
    windows = [tuple(sorted(draw.choices(edges, k=2))) for _ in range(8)]
    found = [figures(registry, *window) for window in windows]
    some = list(registry.archives.archive(2 * DAY_MS))
    assert [figures(registry, *window) for window in windows] == found
    archived = [*some, *registry.archives.archive(OLD)]
    assert left(registry) == 0
    assert len(archived) == DAYS
    assert [figures(registry, *window) for window in windows] == found
    assert registry.ledger.audit([]) == []
    assert registry.archives.verify() == []
    assert [one.name for one in registry.archives.restore(archived)] == [one.name for one in archived]
    assert whole(registry) == before
    assert registry.ledger.audit([]) == []
    assert registry.archives.restore(registry.archives.all()) == [], "they are back already"
    assert whole(registry) == before
    assert registry.archives.attempts_before(OLD) == [], "what was brought back is left there for a while"
