"""When which price holds: pure functions on the lines of one baseline, in the order in which they were added.

A price holds from its date to the next later date of its component; of two with the same date, the one that was added
last. So a line that is dated today or later changes nothing before today.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from registry.days import day_of
from registry.prices.baseline_infos import COMPONENTS, ComponentPrice, PricePeriod
from registry.prices.rows import BaselineLine


def by_date(lines: Iterable[BaselineLine]) -> dict[str, dict[int, BaselineLine]]:
    """By component, the line that counts from each date, oldest date first."""
    dates: dict[str, dict[int, BaselineLine]] = {}
    for line in lines:
        if line.field in COMPONENTS:
            dates.setdefault(line.field, {})[line.effective_from_ms] = line
    return {component: dict(sorted(of.items())) for component, of in dates.items()}


def in_force(dates: dict[int, BaselineLine], at_ms: int) -> BaselineLine | None:
    """The line of a component that counts at an instant; `None`: none has begun."""
    begun = [line for from_ms, line in dates.items() if from_ms <= at_ms]
    return begun[-1] if begun else None


def fills_a_gap(dates: dict[int, BaselineLine], from_ms: int, now_ms: int) -> bool:
    """Whether a price from then on changes nothing that has a price before today (UTC)."""
    today_ms, _ = day_of(now_ms)
    return from_ms >= today_ms or not dates or from_ms < min(dates)


def periods_of(name: str, lines: Sequence[BaselineLine]) -> tuple[PricePeriod, ...]:
    """All prices of a baseline, oldest first; a period in which nothing has a price is left out."""
    dates = by_date(lines)
    cuts = sorted({from_ms for of in dates.values() for from_ms in of})
    periods = []
    for index, from_ms in enumerate(cuts):
        until_ms = cuts[index + 1] if index + 1 < len(cuts) else None
        found = (in_force(of, from_ms) for of in dates.values())
        components = {line.field: _price(line) for line in found if line is not None and line.nano is not None}
        if components:
            periods.append(PricePeriod(name, from_ms, until_ms, components))
    return tuple(periods)


def _price(line: BaselineLine) -> ComponentPrice:
    assert line.nano is not None
    return ComponentPrice(
        line.field,
        line.nano,
        line.effective_from_ms,
        line.source,
        line.retrieved_at_ms,
        line.note,
        line.seq,
        line.correction,
        line.origin,  # type: ignore[arg-type]  # a column of text
        line.stated_from_ms,
    )
