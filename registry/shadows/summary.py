"""Pairs of a shadow taken together: figures of each side over whole pairs, and how the two differ. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from registry.shadows.pair_store import PairInfo

CUT = ("length", "max_tokens", "max_output_tokens")
"""Reasons of ending that say that an answer was cut at its bound, in the words of the endpoints."""


@dataclass(frozen=True, slots=True)
class SideFigures:
    """One side over whole pairs; shares are of the pairs of which that is known. `None`: of none."""

    tokens: float | None
    """Of an answer, on average."""
    cost_nano: float | None
    cached_share: float | None
    """Of the prompts' tokens that a cache had: a candidate's is colder, and its first bytes later for that alone."""
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    total_p50_ms: float | None
    total_p95_ms: float | None
    in_flight: float | None
    """Requests of the same worker on the engine when it began, on average."""
    is_json: float | None
    fits_schema: float | None
    cut: float | None


@dataclass(frozen=True, slots=True)
class JudgeFigures:
    """What one judge said of the pairs."""

    judge: str
    candidate: int
    control: int
    ties: int
    """With those whose verdict turned with the order."""
    turned: int
    """Verdicts that turned with the order."""
    unreadable: int
    first_preferred: float | None
    """The share of its words, ties left out, for the answer that it was shown first: one half without a bias."""


@dataclass(frozen=True, slots=True)
class Summary:
    """All pairs of a shadow."""

    pairs: int
    """Of two whole answers."""
    stored_orphans: int
    """With figures of one side; more are only counted."""
    same_engine: int
    """Pairs whose both answers came from one engine: times are of these alone."""
    control: SideFigures
    candidate: SideFigures
    exact: float | None
    same_words: float | None
    similarity: float | None
    """The mean."""
    length_ratio_p50: float | None
    length_ratio_p90: float | None
    same_finish: float | None
    ttft_difference_ms: float | None
    """The median, over pairs, of the candidate's time to its first bytes less the control's."""
    total_difference_ms: float | None
    causes: Mapping[str, int]
    """Of stored orphans."""
    judges: tuple[JudgeFigures, ...]


def summarise(pairs: Iterable[PairInfo]) -> Summary:
    """Of all of them, in one pass over what is read and one over what is kept of it."""
    whole, causes = list[PairInfo](), Counter[str]()
    for pair in pairs:
        if pair.cause is None:
            whole.append(pair)
        else:
            causes[pair.cause] += 1
    near = [pair for pair in whole if pair.control["engine"] == pair.candidate["engine"]]
    ratios = sorted(_known(pair.diff.get("length_ratio") for pair in whole))
    return Summary(
        pairs=len(whole),
        stored_orphans=causes.total(),
        same_engine=len(near),
        control=_side([pair.control for pair in whole], [pair.control for pair in near]),
        candidate=_side([pair.candidate for pair in whole], [pair.candidate for pair in near]),
        exact=_mean(pair.diff.get("exact") for pair in whole),
        same_words=_mean(pair.diff.get("same_words") for pair in whole),
        similarity=_mean(pair.diff.get("similarity") for pair in whole),
        length_ratio_p50=quantile(ratios, 0.5),
        length_ratio_p90=quantile(ratios, 0.9),
        same_finish=_mean(pair.control["finish_reason"] == pair.candidate["finish_reason"] for pair in whole),
        ttft_difference_ms=_difference(near, "ttft_ms"),
        total_difference_ms=_difference(near, "total_ms"),
        causes=dict(causes),
        judges=tuple(_judge(name, whole) for name in sorted({one.judge for pair in whole for one in pair.verdicts})),
    )


def quantile(values: Sequence[float], part: float) -> float | None:
    """Of sorted values, the smallest that so many of them do not exceed; `None` of none."""
    if not values:
        return None
    return values[min(len(values) - 1, max(0, -int(-part * len(values) // 1) - 1))]


def _side(sides: Sequence[Mapping[str, Any]], near: Sequence[Mapping[str, Any]]) -> SideFigures:
    first = sorted(_known(side["ttft_ms"] for side in near))
    whole = sorted(_known(side["total_ms"] for side in near))
    read = sum(_known(side["prompt_tokens"] for side in sides))
    cached = sum(_known(side["cached_tokens"] for side in sides))
    return SideFigures(
        tokens=_mean(side["completion_tokens"] for side in sides),
        cost_nano=_mean(side["cost_nano"] for side in sides),
        cached_share=cached / read if read else None,
        ttft_p50_ms=quantile(first, 0.5),
        ttft_p95_ms=quantile(first, 0.95),
        total_p50_ms=quantile(whole, 0.5),
        total_p95_ms=quantile(whole, 0.95),
        in_flight=_mean(side["in_flight"] for side in near),
        is_json=_mean(side["is_json"] for side in sides),
        fits_schema=_mean(side["fits_schema"] for side in sides),
        cut=_mean(side["finish_reason"] in CUT for side in sides),
    )


UNREADABLE = "unreadable"
"""A judge's word that cannot be understood, and the verdict of a pair with one."""


def _judge(name: str, pairs: Iterable[PairInfo]) -> JudgeFigures:
    said = [one for pair in pairs for one in pair.verdicts if one.judge == name]
    wins = Counter(one.verdict for one in said)
    read = [one for one in said if one.verdict != UNREADABLE]
    words = [(one.candidate_first, "candidate") for one in read] + [(one.control_first, "control") for one in read]
    decided = [word == first for word, first in words if word != "tie"]
    turned = sum(one.candidate_first != one.control_first and one.verdict == "tie" for one in read)
    return JudgeFigures(
        judge=name,
        candidate=wins["candidate"],
        control=wins["control"],
        ties=wins["tie"],
        turned=turned,
        unreadable=wins[UNREADABLE],
        first_preferred=fmean(decided) if decided else None,
    )


def _difference(pairs: Iterable[PairInfo], figure: str) -> float | None:
    both = ((pair.candidate[figure], pair.control[figure]) for pair in pairs)
    found = [candidate - control for candidate, control in both if candidate is not None and control is not None]
    return round(median(found), 1) if found else None


def _known(values: Iterable[Any]) -> list[float]:
    return [float(value) for value in values if value is not None]


def _mean(values: Iterable[Any]) -> float | None:
    known = _known(values)
    return fmean(known) if known else None
