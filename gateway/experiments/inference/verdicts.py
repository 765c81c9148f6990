"""What an interval means, in words that a product manager understands. Knows no numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from gateway.experiments.inference.means import LEAST_UNITS
from gateway.experiments.inference.values import Interval, finite
from registry.verdicts import Word

Unit = Literal["points", "percent", "plain"]


@dataclass(frozen=True, slots=True)
class Measure:
    """How a difference is told: a difference of rates in points, a relative one in percent, any other as it is."""

    name: str
    unit: Unit = "points"
    higher_is_better: bool = True
    margin: float = 0.0
    """How much worse is no harm, as a difference of the same kind: 0.01 is one point, or one percent."""
    better: str = "better"
    worse: str = "worse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word to act on, a sentence to read, and the figures of it; None where an interval has no end."""

    word: Word
    text: str
    estimate: float
    low: float | None
    high: float | None


def verdict(interval: Interval, measure: Measure, alpha: float, arm: str = "B") -> Verdict:
    """Whether `arm` is better than the control: of a two-sided sequence."""
    low, high = _towards_better(interval, measure)
    text = f"{arm} {_between(low, high, measure)}{_sure(alpha)}"
    if low > 0 or high < 0:
        word: Word = "better" if low > 0 else "worse"
    elif not math.isfinite(high - low):
        word, text = "too_few_units", f"too few units yet to compare {arm}: it takes {LEAST_UNITS} of both arms"
    elif measure.margin > 0 and low > -measure.margin:
        word, text = "non_inferior", f"{text}: not worse by more than {_amount(measure.margin, measure.unit)}"
    else:
        word, text = "undecided", f"{text}: no difference is certain"
    return _verdict(word, text, interval)


def preference(interval: Interval, margin: float, alpha: float, arm: str, tally: str) -> Verdict:
    """Whether a judge prefers the answers of `arm`: of the share of decided pairs that it wins, less one half. `tally`
    says of how many pairs.
    """
    low, high = float(interval.low), float(interval.high)
    if not math.isfinite(high - low):
        return _verdict("too_few_units", f"no pair of {arm} is decided yet ({tally})", interval)
    text = f"{arm} wins {_figure(50 + 100 * low)} to {_figure(50 + 100 * high)} % of decided pairs{_sure(alpha)}"
    if low > 0 or high < 0:
        word: Word = "better" if low > 0 else "worse"
    elif margin > 0 and low > -margin:
        word, text = "non_inferior", f"{text}: not worse by more than {_amount(margin, 'points')}"
    else:
        word, text = "undecided", f"{text}: no difference is certain"
    return _verdict(word, f"{text}; {tally}", interval)


def guardrail(interval: Interval, measure: Measure, alpha: float, arm: str = "B") -> Verdict:
    """Whether `arm` is worse by more than the margin: of a one-sided sequence, each of whose ends has this alpha."""
    low, high = _towards_better(interval, measure)
    if high < -measure.margin:
        least = f"{measure.worse} than the control by at least {_amount(-high, measure.unit)}"
        return _verdict("worse", f"{measure.name}: {arm} is {least}{_sure(alpha)}", interval)
    if low > -measure.margin:
        by = f" by more than {_amount(measure.margin, measure.unit)}" if measure.margin else ""
        text = f"{measure.name}: {arm} is not {measure.worse} than the control{by}{_sure(alpha)}"
        return _verdict("non_inferior", text, interval)
    if not math.isfinite(high - low):
        return _verdict("too_few_units", f"{measure.name}: too few units yet to compare {arm}", interval)
    text = f"{measure.name}: {arm} {_between(low, high, measure)}{_sure(alpha)}: no harm is certain"
    return _verdict("undecided", text, interval)


def missingness(interval: Interval, alpha: float, what: str = "feedback", arm: str = "B") -> Verdict:
    """Whether values are missing more often on one arm: of the difference of rates of units without one.

    `worse` is the comparison, whichever arm lacks more.
    """
    low, high = interval.low, interval.high
    if low > 0 or high < 0:
        often = "more" if low > 0 else "less"
        by = _range(max(float(low), float(-high)), max(float(high), float(-low)), "points")
        text = f"{what} is missing {often} often on {arm}, by {by}{_sure(alpha)}: those who gave it are not alike"
        return _verdict("worse", text, interval)
    if not math.isfinite(float(high - low)):
        return _verdict("too_few_units", f"too few units yet to tell whether {what} is missing alike", interval)
    return _verdict("undecided", f"{what} is missing about as often on both{_sure(alpha)}", interval)


def joint(quality: Interval, measure: Measure, cost: Interval, alpha: float, arm: str = "B") -> Verdict:
    """Quality and dollars per accepted answer in one sentence; figures are those of `cost`, which is relative.

    `better`: better in quality and not dearer, or not worse and cheaper. Both must hold, so each has all of alpha
    (R. L. Berger, Technometrics 24, 1982). Where they pull apart it is `undecided`: a person has to weigh them.
    """
    of_quality = verdict(quality, measure, alpha, arm)
    dollars = Measure("cost", "percent", higher_is_better=False, better="cheaper", worse="dearer")
    of_cost = verdict(cost, dollars, alpha, arm)
    if of_quality.word == of_cost.word == "too_few_units":
        return _verdict("too_few_units", f"cost of an accepted answer: too few units yet to compare {arm}", cost)
    text = f"{arm} is {_quality_words(of_quality, quality, measure)} and {_cost_words(cost)} per accepted answer"
    return _verdict(_joint_word(of_quality.word, of_cost.word), f"{text}{_sure(alpha)}", cost)


def _joint_word(quality: Word, cost: Word) -> Word:
    if "too_few_units" in (quality, cost):
        return "too_few_units"
    if (quality == "better" and cost != "worse") or (quality == "non_inferior" and cost == "better"):
        return "better"
    if (quality == "worse" and cost != "better") or (cost == "worse" and quality != "better"):
        return "worse"
    return "non_inferior" if quality == "non_inferior" else "undecided"


def _quality_words(of_quality: Verdict, interval: Interval, measure: Measure) -> str:
    if of_quality.word == "too_few_units":
        return "not to be judged yet"
    if of_quality.word == "non_inferior":
        return f"non-inferior within {_amount(measure.margin, measure.unit)}"
    return _between(*_towards_better(interval, measure), measure).removeprefix("is ")


def _cost_words(cost: Interval) -> str:
    low, high = float(cost.low), float(cost.high)
    if not math.isfinite(high - low):
        return "not to be priced yet"
    if low <= 0 <= high:
        return f"between {_amount(-low, 'percent')} cheaper and {_amount(high, 'percent')} dearer"
    small, large = (low, high) if low > 0 else (-high, -low)
    word = "dearer" if low > 0 else "cheaper"
    return f"{_amount(abs(float(cost.estimate)), 'percent')} {word} ({_range(small, large, 'percent')})"


def _towards_better(interval: Interval, measure: Measure) -> tuple[float, float]:
    low, high = float(interval.low), float(interval.high)
    return (low, high) if measure.higher_is_better else (-high, -low)


def _between(low: float, high: float, measure: Measure) -> str:
    """`is better by 2.1 to 5.4 points`, or `is between 1.2 points worse and 3.4 points better`."""
    if low > 0:
        return f"is {measure.better} by {_range(low, high, measure.unit)}"
    if high < 0:
        return f"is {measure.worse} by {_range(-high, -low, measure.unit)}"
    ends = f"{_amount(-low, measure.unit)} {measure.worse} and {_amount(high, measure.unit)} {measure.better}"
    return f"is between {ends}"


def _range(low: float, high: float, unit: Unit) -> str:
    return f"{_amount(low, unit).split(' ')[0]} to {_amount(high, unit)}"


def _amount(value: float, unit: Unit) -> str:
    figure = _figure(value if unit == "plain" else 100 * value)
    return {"points": f"{figure} point{'' if figure == '1' else 's'}", "percent": f"{figure} %", "plain": figure}[unit]


def _figure(value: float) -> str:
    """One digit behind the point, none from 10 on, two significant ones below 0.1."""
    value = abs(value)
    if value == 0 or value >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}".removesuffix(".0") if value >= 0.1 else f"{value:.2g}"


def _sure(alpha: float) -> str:
    wrong_percent = float(f"{100 * alpha:.2g}")
    return f" ({100 - wrong_percent:.10g} %, any time)"


def _verdict(word: Word, text: str, interval: Interval) -> Verdict:
    return Verdict(word, text, float(interval.estimate), finite(float(interval.low)), finite(float(interval.high)))
