"""What an adapter's traffic was like lately, as far as a simulation of an experiment needs it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pvariance

from sqlalchemy import func, select

from registry.adapters.version_rows import require_adapter
from registry.days import DAY_MS
from registry.db import Database, now_ms
from registry.experiments.feed import FAILED
from registry.experiments.valuing import COUNTED, Served, of_attempts
from registry.ledger.rows import USAGE
from registry.money import NANO
from registry.names import AdapterRef

DAYS = 7
MOST_ROWS = 20_000
"""Of the newest, by which means and variances are estimated."""


@dataclass(frozen=True, slots=True)
class PastTraffic:
    """Of the last days: requests, the units that they were of, and metric → mean and variance of a request, or of a
    window.
    """

    requests: int
    units: int
    units_a_day: float
    exact: bool
    """Whether units are known: only what a split has led has one. Else each request is taken for a unit."""
    values: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class TrafficBooks:
    """Reads the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def of(self, ref: AdapterRef, window_ms: int = 0) -> PastTraffic:
        """An adapter's; with `window_ms` of windows of so long as units, in which there was some. Raises `NotFound`."""
        row, since_ms = USAGE.c, now_ms() - DAYS * DAY_MS
        with self._db.read() as session:
            adapter = require_adapter(session, ref)
            mine = (
                (row.tenant == adapter.tenant)
                & (row.started_at_ms >= since_ms)
                & (row.adapter_id == adapter.id)
                & row.outcome.in_(COUNTED)
                & row.shadow.is_not(True)
            )
            requests, split, units, first_ms = session.execute(
                select(
                    func.count(),
                    func.count(row.unit_hash),
                    func.count(row.unit_hash.distinct()),
                    func.min(row.started_at_ms),
                ).where(mine)
            ).one()
            window = row.started_at_ms - row.started_at_ms % window_ms if window_ms else None
            windows = 0 if window is None else session.scalars(select(func.count(window.distinct())).where(mine)).one()
            newest = (
                select(*(row[name] for name in Served._fields))
                .where(mine)
                .order_by(row.started_at_ms.desc())
                .limit(MOST_ROWS)
            )
            rows = [Served._make(one) for one in session.execute(newest)]
        if not requests:
            return PastTraffic(0, 0, 0.0, exact=False)
        whole = round(requests * units / split) if split else requests
        days = max((now_ms() - first_ms) / DAY_MS, 1.0)
        if windows:
            return PastTraffic(requests, windows, windows / days, exact=True, values=_of_windows(rows, window_ms))
        return PastTraffic(requests, whole, whole / days, exact=bool(split), values=_values(rows))


def _of_windows(rows: Sequence[Served], window_ms: int) -> dict[str, tuple[float, float]]:
    by_window = defaultdict[int, list[Served]](list)
    for one in rows:
        by_window[one.started_at_ms // window_ms].append(one)
    known = defaultdict[str, list[float]](list)
    for attempts in by_window.values():
        for name, value in of_attempts(attempts, quantiles=True).items():
            known[name].append(value)
    return {name: (fmean(values), pvariance(values)) for name, values in known.items()}


def _values(rows: Sequence[Served]) -> dict[str, tuple[float, float]]:
    known: dict[str, list[float]] = {
        "errors": [float(one.outcome in FAILED) for one in rows],
        "latency_ms": [one.finished_at_ms - one.started_at_ms for one in rows if one.finished_at_ms is not None],
        "ttft_ms": [one.ttft_ms for one in rows if one.ttft_ms is not None],
        "prompt_tokens": [one.prompt_tokens for one in rows if one.prompt_tokens is not None],
        "completion_tokens": [one.completion_tokens for one in rows if one.completion_tokens is not None],
        "cost": [one.cost_nano / NANO for one in rows if one.cost_nano is not None],
    }
    return {name: (fmean(values), pvariance(values)) for name, values in known.items() if values}
