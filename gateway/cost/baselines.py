"""What tokens would have cost on a baseline: exact, by the prices that were in force when requests began.

    prompt     = our prompt tokens · the baseline's for each of ours
    cached     = prompt · the share that its cache had; unless it is given, the share that our own had
    completion = our completion tokens · the baseline's for each of ours
    standard   = ((prompt - cached) · input + cached · cached_input + completion · output) / 1,000,000
    batch      = (prompt · batch_input + completion · batch_output) / 1,000,000
    cost       = (1 - batch share) · standard + batch share · batch

Prices are nano-dollars per million tokens. Where a baseline has no price for cached input, that costs as much as input,
and where it has none for batches, all requests cost the standard price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from gateway.cost.assumptions import SAME, Assumptions, TokenRatio
from registry.money import MTOK
from registry.prices.baseline_infos import BaselineInfo, PricePeriod


@dataclass(frozen=True, slots=True)
class Tokens:
    """As our engines count them; `cached` of the `prompt` tokens came from their prefix cache."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.cached + other.cached, self.completion + other.completion)


@dataclass(frozen=True, slots=True)
class Baseline:
    """An API that a report compares with."""

    name: str
    info: BaselineInfo | None
    """`None`: nothing but its name is known."""
    periods: tuple[PricePeriod, ...] = ()
    """Its prices, oldest first; those without input or output price are no prices of a request."""
    ratio: TokenRatio = SAME
    ratios: Mapping[str, TokenRatio] = field(default_factory=dict)
    """Of tenants of which another one is known, as far as they are in the report."""
    unknown: str = ""
    """Of one that is not in the price log: what to do about it, as a sentence."""

    def period_at(self, at_ms: int) -> PricePeriod | None:
        """The prices of a request that began then; `None`: it has none."""
        for period in self.periods:
            if period.from_ms <= at_ms and (period.until_ms is None or at_ms < period.until_ms):
                return period if period.complete else None
        return None

    def ratio_of(self, tenant: str) -> TokenRatio:
        """How many of its tokens one of ours is, in this tenant's requests."""
        return self.ratios.get(tenant, self.ratio)


def cuts_of(baselines: Iterable[Baseline]) -> list[int]:
    """Instants at which a price begins or ends."""
    cuts = {at for one in baselines for period in one.periods for at in (period.from_ms, period.until_ms)}
    return sorted(at for at in cuts if at is not None)


def exact_nano(tokens: Tokens, period: PricePeriod, ratio: TokenRatio, assumed: Assumptions) -> Fraction:
    """What so many of our tokens cost on the baseline, in nano-dollars, not rounded."""
    prompt, completion = _times(tokens.prompt, ratio.prompt), _times(tokens.completion, ratio.completion)
    share = assumed.cached_share
    cached = _times(tokens.cached, ratio.prompt) if share is None else prompt * share
    standard = Fraction(
        (prompt - cached) * period.input_nano_per_mtok
        + cached * period.cached_input_nano_per_mtok
        + completion * period.output_nano_per_mtok,
        MTOK,
    )
    batch_input, batch_output = period.nano("batch_input"), period.nano("batch_output")
    if not assumed.batch_share or batch_input is None or batch_output is None:
        return standard
    batch = Fraction(prompt * batch_input + completion * batch_output, MTOK)
    return (1 - assumed.batch_share) * standard + assumed.batch_share * batch


def _times(count: int, ratio: Fraction) -> Fraction | int:
    """Whole where it can be: a forecast asks for a million of these."""
    return count if ratio == 1 else count * ratio


def exact_ends(
    tokens: Tokens, period: PricePeriod, ratio: TokenRatio, assumed: Assumptions
) -> tuple[Fraction, Fraction] | None:
    """What they cost where both ratios are at the lower ends of their intervals, and at the upper ones; `None`: an
    interval is not known. The cost grows with either ratio, so it lies between while both are within theirs.
    """
    if ratio.prompt_interval is None or ratio.completion_interval is None:
        return None
    low, high = (
        replace(ratio, prompt=prompt, completion=completion)
        for prompt, completion in zip(ratio.prompt_interval, ratio.completion_interval, strict=True)
    )
    return exact_nano(tokens, period, low, assumed), exact_nano(tokens, period, high, assumed)


def assumptions_said(baseline: Baseline, assumed: Assumptions, since_ms: int, until_ms: int) -> Iterator[str]:
    """Each thing that is taken for granted of a baseline in a window, as a sentence."""
    named = {baseline.ratio.why, *(ratio.why for ratio in baseline.ratios.values())}
    yield f"Tokens: {'; '.join(sorted(named))}."
    share = assumed.cached_share
    if share is None:
        yield "Prompt cache: it has as much of every prompt as our engines' own cache had."
    else:
        yield f"Prompt cache: it has {percent(share)} of every prompt."
    within = [one for one in baseline.periods if one.from_ms < until_ms and (one.until_ms or until_ms) > since_ms]
    if share != 0 and any("cached_input" not in one.components for one in within):
        yield "It has no price for cached input: that costs as much as input."
    if not assumed.batch_share:
        yield "Batch: no request goes by its batch queue."
    elif any("batch_input" not in one.components or "batch_output" not in one.components for one in within):
        yield "Batch: it has no price for batches, so every request costs the standard price."
    else:
        share = assumed.batch_share
        yield f"Batch: {percent(share)} of the requests go by its batch queue, and its cache has none of these."


def percent(share: Fraction) -> str:
    """As people write it."""
    return f"{float(share * 100):.4g} %"
