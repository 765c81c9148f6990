"""The lines of a cost report as CSV: a column a figure, of each baseline its own, and an empty cell for what is not
known.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.cost.report import CostLine, CostReport
from gateway.cost.report_document import line_document

INTERVALS = {
    "cost_interval_dollars": ("cost_low_dollars", "cost_high_dollars"),
    "savings_interval_dollars": ("savings_low_dollars", "savings_high_dollars"),
}
"""Columns of the two ends of each."""
FIGURES = ("cost_dollars", "cost_interval_dollars", "label", "savings_dollars", "savings_interval_dollars", "unlisted")
"""Of each baseline."""
ENGINE = ("marginal_dollars", "busy_dollars", "loaded_dollars")
FRONT = (
    "kind",
    "tenant",
    "name",
    "requests",
    "failed",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "tariff_dollars",
    "margin_dollars",
    "unpriced",
    "uncosted",
    "unsettled",
)


def csv_of(report: CostReport, lines: Iterable[CostLine]) -> str:
    """Lines of a report, with a heading and the versions of its prices in every row. Money is in dollars."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [one.name for one in report.baselines]
    of_baselines = [f"{name} {one}" for name in names for figure in FIGURES for one in INTERVALS.get(figure, (figure,))]
    writer.writerow([*FRONT, *(f"engine_{one}" for one in ENGINE), *of_baselines, "price_version", "cost_version"])
    for document in map(line_document, lines):
        writer.writerow(
            [
                *(document[name] for name in FRONT),
                *(document["engine_cost"][name] for name in ENGINE),
                *(cell for name in names for cell in _cells(document["baselines"][name])),
                report.price_version,
                report.engines.cost_version,
            ]
        )
    return text.getvalue()


def _cells(cost: dict[str, Any]) -> Iterator[Any]:
    """Of one baseline: a figure each, and both ends of an interval."""
    for figure in FIGURES:
        ends = INTERVALS.get(figure)
        if ends is None:
            yield cost[figure]
        else:
            yield from cost[figure] or [None] * len(ends)
