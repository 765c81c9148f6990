"""Percentiles and the tables that the load tools print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile (no interpolation), None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def summary(values: Sequence[float], percents: Sequence[int] = (50, 95, 99)) -> dict[str, float | None]:
    """`{"p50": …}` rounded to a microsecond when the values are milliseconds."""
    figures = {f"p{percent}": percentile(values, percent) for percent in percents}
    return {name: None if value is None else round(value, 3) for name, value in figures.items()}


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same keys as aligned columns under their names."""
    columns = list(rows[0])
    cells = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    lines = [
        "  ".join(
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
