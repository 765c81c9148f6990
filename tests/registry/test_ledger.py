"""Usage is recorded once whatever is shipped twice; prices are dated and never edited; money is exact."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from registry.ledger.segments import SegmentEntry
from registry.ledger.usage_report import report_usage
from registry.limits.spending import Spent
from registry.names import SYSTEM
from registry.service import Registry
from tests.support.usage_rows import usage_row


def attempts(registry: Registry, since_ms: int, until_ms: int) -> list[int]:
    """Of each line of a window."""
    return [line.attempts for line in report_usage(registry.db, "version", since_ms=since_ms, until_ms=until_ms).lines]


def test_shipping_twice_records_once_and_keeps_the_first(registry: Registry) -> None:
    ledger = registry.ledger
    assert ledger.record([usage_row("a"), usage_row("b")]) == 2
    assert ledger.record([usage_row("b", completion_tokens=999), usage_row("c"), usage_row("c")]) == 1
    assert ledger.record([]) == 0
    assert [(row["attempt_id"], row["completion_tokens"]) for row in ledger.recent(10)] == [
        ("a", 5),
        ("b", 5),
        ("c", 5),
    ]


def test_two_shippers_of_one_journal_record_each_attempt_once(registry: Registry) -> None:
    rows = [usage_row(f"attempt-{number}") for number in range(50)]
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(registry.ledger.record, [rows] * 4)) == 50
    assert attempts(registry, 0, 2_000) == [50]


def test_a_window_takes_its_first_instant_and_not_its_last(registry: Registry) -> None:
    registry.ledger.record([usage_row(str(at), started_at_ms=at) for at in (999, 1_000, 1_999, 2_000)])
    assert attempts(registry, 1_000, 2_000) == [2]
    assert attempts(registry, 3_000, 4_000) == []


def test_the_span_is_from_the_first_attempt_to_the_last_end(registry: Registry) -> None:
    assert registry.ledger.span_ms() is None
    registry.ledger.record([usage_row("a", started_at_ms=500, finished_at_ms=None)])
    assert registry.ledger.span_ms() == (500, 500)
    registry.ledger.record([usage_row("b", started_at_ms=700, finished_at_ms=900)])
    assert registry.ledger.span_ms() == (500, 900)


def test_the_newest_attempts_come_first(registry: Registry) -> None:
    registry.ledger.record([usage_row(f"a{at}", started_at_ms=at) for at in range(5)])
    registry.ledger.record([usage_row("g", tenant="globex", started_at_ms=99)])
    assert [row["attempt_id"] for row in registry.ledger.recent(2)] == ["g", "a4"]
    assert [row["attempt_id"] for row in registry.ledger.recent(2, "acme")] == ["a4", "a3"]


def entry(sequence: int, **changes: Any) -> SegmentEntry:
    """The entry of a segment without attempts."""
    fields: dict[str, Any] = {
        "segment": f"usage-w-{sequence:06d}",
        "writer": "w",
        "sequence": sequence,
        "records": 1,
        "intents": 0,
    }
    fields |= dict.fromkeys(("attempts", "prompt_tokens", "cached_tokens", "completion_tokens", "faults"), 0)
    before = f"digest {sequence - 1}" if sequence > 1 else ""
    return SegmentEntry(**fields | {"digest": f"digest {sequence}", "previous_digest": before, "last": False} | changes)


def test_a_process_of_which_nothing_is_billed_is_in_the_books_with_nothing(registry: Registry) -> None:
    registry.ledger.record([usage_row("a", outcome="lost", segment="usage-w-1-000001", cost_nano=None)])
    registry.ledger.record([usage_row("b", segment="usage-w-2-000001", cost_nano=7)])
    books = registry.spending.window(0, 10_000)
    assert registry.spending.window(0, 10_000, but="w-1")["tenant:acme"] == {"w-2": Spent(7, 15)}
    assert books["tenant:acme"] == {"w-1": Spent(), "w-2": Spent(7, 15)}


def test_an_audit_wants_as_many_rows_and_tokens_as_the_segment_had(registry: Registry) -> None:
    ledger = registry.ledger
    ledger.record([usage_row("a", segment="usage-w-000001"), usage_row("b", segment="usage-w-000001")])
    ledger.record([usage_row("c", tenant=SYSTEM)])
    sums = {"prompt_tokens": 20, "cached_tokens": 8, "completion_tokens": 10}
    ledger.close_segments([entry(1, intents=2, attempts=2, last=True, **sums)])
    assert ledger.audit([]) == []
    ledger.close_segments([entry(1, attempts=9)])
    assert ledger.audit([]) == [], "an entry that is there is left as it is"
    ledger.record([usage_row("d", segment="usage-w-000001")])
    assert ledger.audit([])[0] == "segment usage-w-000001: the journal had 2 attempts, the ledger has 3"


def test_an_audit_finds_what_is_missing_in_a_chain(registry: Registry) -> None:
    registry.ledger.close_segments([entry(1), entry(3), entry(4, previous_digest="another"), entry(5, intents=2)])
    registry.ledger.close_segments([entry(6, last=True)])
    assert registry.ledger.audit([]) == [
        "segment 2 of writer w is missing",
        "segment usage-w-000004: it was not written after the segment that stands before it",
        "writer w: 2 more attempts began than ended",
    ]


@pytest.mark.parametrize("table", ["usage_segments", "usage_corrections"])
@pytest.mark.parametrize("change", ["UPDATE {} SET completion_tokens = 1", "DELETE FROM {}"])
def test_entries_and_corrections_are_never_changed(registry: Registry, table: str, change: str) -> None:
    registry.ledger.record([usage_row("a")])
    registry.ledger.close_segments([entry(1)])
    registry.ledger.correct("a", "counted twice", "me", {"completion_tokens": -1})
    with pytest.raises(DBAPIError, match=f"{table} is append-only"), registry.db.write() as session:
        session.execute(text(change.format(table)))
