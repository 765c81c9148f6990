"""What a swap did to traffic, from the usage rows: requests per version per second, failures, first and last."""

from __future__ import annotations

from dataclasses import dataclass

from registry.db import Database, now_ms
from registry.ledger.store import Ledger, SecondCount
from registry.splits.skew import SplitSkew
from registry.splits.skews import SplitSkews
from registry.swaps.infos import SwapInfo
from registry.swaps.store import Swaps

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
class Acknowledgement:
    """A gateway worker had the moved alias or the new split in force: when, and how many seconds after the flip."""

    worker: str
    at_ms: int
    after_flip_s: float


@dataclass(frozen=True, slots=True)
class SwapReport:
    """A swap with its traffic, from ten seconds before it was asked for to ten seconds after its end.

    Cut-over is the last worker's acknowledgement. A time is `None` when the swap did not get there.
    """

    swap: SwapInfo
    since_ms: int
    until_ms: int
    versions: tuple[VersionTraffic, ...]
    per_second: tuple[SecondCount, ...]
    late_on_old: int | None
    """Attempts that the alias led to the old version and that began after the cut-over; a ramp has no old version."""
    acknowledged: tuple[Acknowledgement, ...]
    """The first worker first."""
    not_acknowledged_by: tuple[str, ...]
    """Workers that lived and did not say in time that they have it; such a worker stops serving by itself."""
    preload_s: float | None
    """Loading and proving on every home, of every arm."""
    cutover_s: float | None
    """From the flip (the alias moved, or its split changed) to the cut-over."""
    drain_s: float | None
    """Waiting for requests on the old version; `None` for a ramp."""
    skew: SplitSkew | None
    """Set when one unit is too much of the traffic of the split that this ramp began."""
    left_on_old: int | None
    """Requests that still ran on the old version when the wait was given up; 0 when it ran dry, `None` also when a
    worker that lives had not said how many it has."""


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
    if swap.kind == "move" and cut_over_ms is not None and old is not None and old != swap.to_version:
        late = ledger.started_after(old, cut_over_ms, until_ms)
    flipped_ms, split_id = swap.detail.get("flipped_at_ms"), swap.detail.get("split")
    return SwapReport(
        swap=swap,
        since_ms=since_ms,
        until_ms=until_ms,
        versions=tuple(versions),
        per_second=tuple(counts),
        late_on_old=late,
        acknowledged=_acknowledgements(swap),
        not_acknowledged_by=tuple(swap.detail.get("not_acknowledged_by", ())),
        preload_s=swap.detail.get("preload_s"),
        cutover_s=None if cut_over_ms is None or flipped_ms is None else (cut_over_ms - flipped_ms) / 1000,
        drain_s=swap.detail.get("drain_s"),
        skew=None if split_id is None else SplitSkews(db).alarming(split_id),
        left_on_old=swap.detail.get("requests_left_on_old_version"),
    )


def _acknowledgements(swap: SwapInfo) -> tuple[Acknowledgement, ...]:
    by: dict[str, int] = swap.detail.get("acknowledged_by", {})
    flipped_ms = swap.detail.get("flipped_at_ms")
    return tuple(
        Acknowledgement(worker, at_ms, (at_ms - flipped_ms) / 1000)
        for worker, at_ms in sorted(by.items(), key=lambda item: item[1])
        if flipped_ms is not None
    )
