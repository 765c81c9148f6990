"""What usage cost against an API: pure arithmetic on sums, in integer nano-dollars.

Formulas:
    API cost   = `registry.money.cost_nano` at the API's price in force when the attempt began

Usage before the first dated price, and attempts without a usage report, are counted as unpriced, never as $0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from registry.ledger.store import UsageSum
from registry.money import cost_nano
from registry.names import SYSTEM
from registry.prices.baseline_infos import PricePeriod


@dataclass(slots=True)
class Line:
    """One tenant and served model. Money in nano-dollars; `None` when it cannot be known."""

    tenant: str
    model: str
    attempts: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    busy_ms: int = 0
    unpriced_attempts: int = 0
    api_nano: int = 0

    @property
    def known_api_nano(self) -> int | None:
        """`None` when nothing of it has a price; our own probes have none."""
        return None if self.tenant == SYSTEM or self.unpriced_attempts >= self.attempts else self.api_nano


@dataclass(frozen=True, slots=True)
class Report:
    """All lines of a window `[since_ms, until_ms)`."""

    since_ms: int
    until_ms: int
    api_model: str
    api_prices: tuple[PricePeriod, ...]
    lines: tuple[Line, ...] = field(default_factory=tuple)


def build_report(
    sums: Callable[[int, int], Sequence[UsageSum]],
    api_model: str,
    api_prices: Sequence[PricePeriod],
    *,
    since_ms: int,
    until_ms: int,
) -> Report:
    """`sums(since, until)` gives usage between two instants; it is asked once for each price period."""
    lines: dict[tuple[str, str], Line] = {}
    for start_ms, end_ms, price in _periods(api_prices, since_ms, until_ms):
        for usage in sums(start_ms, end_ms):
            _add(
                lines.setdefault((usage.tenant, usage.served_model), Line(usage.tenant, usage.served_model)),
                usage,
                price,
            )
    return Report(
        since_ms,
        until_ms,
        api_model,
        tuple(api_prices),
        tuple(lines[key] for key in sorted(lines)),
    )


def _periods(prices: Sequence[PricePeriod], since_ms: int, until_ms: int) -> list[tuple[int, int, PricePeriod | None]]:
    """The window cut where prices change; a period before the first price has none."""
    periods: list[tuple[int, int, PricePeriod | None]] = []
    starts: list[tuple[int, PricePeriod | None]] = [(since_ms, None)]
    starts += [(price.from_ms, price if price.complete else None) for price in prices]
    for index, (start_ms, price) in enumerate(starts):
        end_ms = starts[index + 1][0] if index + 1 < len(starts) else until_ms
        start_ms, end_ms = max(start_ms, since_ms), min(end_ms, until_ms)
        if start_ms < end_ms:
            periods.append((start_ms, end_ms, price))
    return periods


def _add(line: Line, usage: UsageSum, price: PricePeriod | None) -> None:
    line.attempts += usage.attempts
    line.failed += usage.failed
    line.prompt_tokens += usage.prompt_tokens
    line.cached_tokens += usage.cached_tokens
    line.completion_tokens += usage.completion_tokens
    line.busy_ms += usage.busy_ms
    if usage.tenant == SYSTEM:  # an API would not have been asked: our probes cost only the hosts' time
        return
    if price is None:
        line.unpriced_attempts += usage.attempts
        return
    line.unpriced_attempts += usage.unmetered
    line.api_nano += cost_nano(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, price)
