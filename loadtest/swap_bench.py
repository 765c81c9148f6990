"""The judge of a swap bench: records of traffic on one adapter, and the times of the swaps under it.

Pure. Times are unix seconds of one machine's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadtest.figures import percentile
from loadtest.records import Record

BEFORE_S = 1.5
"""How much of the traffic before a swap its latency is compared with."""
SETTLE_S = 0.25
"""The swap's window goes on for so long after it was done."""


@dataclass(frozen=True, slots=True)
class SwapTimes:
    """One swap: asked for, alias moved, acknowledged by the last worker, done. `old` and `new` are full names."""

    old: str
    new: str
    requested: float
    flipped: float
    acknowledged: float
    done: float

    @property
    def cutover_s(self) -> float:
        """From the flip to the last worker's acknowledgement."""
        return self.acknowledged - self.flipped


def stale(record: Record, swaps: Sequence[SwapTimes]) -> bool:
    """Whether a version answered that had been replaced when the request arrived."""
    return any(record.last.started > swap.acknowledged and swap.old in record.models for swap in swaps)


def premature(record: Record, swaps: Sequence[SwapTimes]) -> bool:
    """Whether a version answered before its swap's flip, or none of the swaps knows it."""
    known = {swaps[0].old: float("-inf"), **{swap.new: swap.flipped for swap in swaps}}
    return any(record.last.ended < known.get(model, float("inf")) for model in record.models)


def report(records: Sequence[Record], swaps: Sequence[SwapTimes]) -> dict[str, object]:
    """The JSON document. p99 is taken over the windows of all swaps together: one alone has too few requests."""
    whole = [record for record in records if record.failure is None]
    before = [_ms(r) for r in whole for s in swaps if s.requested - BEFORE_S <= r.last.started < s.requested]
    during = [_ms(r) for r in whole for s in swaps if s.requested <= r.last.started < s.done + SETTLE_S]
    before_ms, during_ms = percentile(before, 99), percentile(during, 99)
    if before_ms is None or during_ms is None:
        raise ValueError(f"{len(before)} requests before swaps, {len(during)} during them: there is nothing to compare")
    failed = [record for record in records if record.failure is not None or len(record.models) != 1]
    failed += [record for record in whole if premature(record, swaps)]
    return {
        "requests": len(records),
        "failed": len(failed),
        "stale": sum(stale(record, swaps) for record in records),
        "p99_ratio": round(during_ms / before_ms, 3),
        "cutover_s": round(max(swap.cutover_s for swap in swaps), 3),
        "detail": {
            "swaps": len(swaps),
            "median_cutover_s": round(median(swap.cutover_s for swap in swaps), 3),
            "median_swap_s": round(median(swap.done - swap.requested for swap in swaps), 3),
            "before": {"requests": len(before), "p50_ms": percentile(before, 50), "p99_ms": before_ms},
            "during": {"requests": len(during), "p50_ms": percentile(during, 50), "p99_ms": during_ms},
            "failure_examples": [str(record.last.failure or record.models) for record in failed[:5]],
        },
    }


def _ms(record: Record) -> float:
    return round((record.last.ended - record.last.started) * 1_000, 3)
