"""What a swap did to traffic, from the usage rows: requests per version per second, failures, first and last."""

from __future__ import annotations

from dataclasses import dataclass

from registry.db import Database, now_ms
from registry.ledger import Ledger, SecondCount
from registry.swaps import SwapInfo, Swaps

MARGIN_MS = 10_000
"""How much of the traffic before and after the swap belongs to its report."""


@dataclass(frozen=True, slots=True)
class VersionTraffic:
    """One version's part. Times are starts of attempts, in milliseconds since the epoch."""

    version: str
    attempts: int
    failed: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class SwapReport:
    """A swap with its traffic. `late_on_old` counts attempts on the old version that began after the cut-over, which
    is the last worker's acknowledgement; `None` when the swap did not get there.
    """

    swap: SwapInfo
    since_ms: int
    until_ms: int
    versions: tuple[VersionTraffic, ...]
    per_second: tuple[SecondCount, ...]
    late_on_old: int | None


def report_swap(db: Database, swap_id: int) -> SwapReport:
    """The report of one swap, as far as its usage is shipped (a second behind). Raises `NotFound`."""
    swap = Swaps(db).get(swap_id)
    ledger = Ledger(db)
    since_ms = swap.requested_at_ms - MARGIN_MS
    until_ms = (swap.finished_at_ms or now_ms()) + MARGIN_MS
    counts = ledger.per_second(swap.adapter, since_ms, until_ms)
    versions = []
    for name in sorted({count.served_model for count in counts}):
        own = [count for count in counts if count.served_model == name]
        versions.append(
            VersionTraffic(
                name,
                sum(count.attempts for count in own),
                sum(count.failed for count in own),
                min(count.first_ms for count in own),
                max(count.last_ms for count in own),
            )
        )
    cut_over_ms, old = swap.detail.get("acknowledged_at_ms"), swap.detail.get("from")
    late = None
    if cut_over_ms is not None and old is not None and old != swap.to_version:
        late = ledger.started_after(old, cut_over_ms, until_ms)
    return SwapReport(swap, since_ms, until_ms, tuple(versions), tuple(counts), late)
