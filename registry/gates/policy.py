"""What a gate asks for, and what figures say to it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from registry.errors import InvalidInput
from registry.storage.blobs import canonical_json, digest_of
from registry.verdicts import GateWord

LEAST_UNITS = 20
"""Conversations of an evaluation, unless a gate says otherwise: fewer show little, whatever their interval."""
MAX_GUARDS = 20
MAX_METRIC_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Guard:
    """A metric on which a candidate may be worse than the incumbent by `margin` at most, in the metric's own unit."""

    metric: str
    margin: float


@dataclass(frozen=True, slots=True)
class Policy:
    """A gate. The candidate must be better on `target` by more than `better_by`, in the metric's own unit.

    `least_units` bounds the evaluation set from below, `data` names the only one that counts, by its digest.
    """

    target: str
    better_by: float = 0.0
    guards: tuple[Guard, ...] = ()
    least_units: int = LEAST_UNITS
    data: str | None = None

    def __post_init__(self) -> None:
        if len(self.guards) > MAX_GUARDS:
            raise InvalidInput(f"guard is given {len(self.guards)} times; {MAX_GUARDS} is the most", param="guard")
        names = [self.target, *(guard.metric for guard in self.guards)]
        for param, name in zip(("target", *("guard" for _ in self.guards)), names, strict=True):
            if not 0 < len(name) <= MAX_METRIC_CHARACTERS or not name.isprintable():
                text = f"{param} is {name[:80]!r}; expected the name of a metric"
                raise InvalidInput(f"{text}, at most {MAX_METRIC_CHARACTERS} characters", param=param)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInput(f"guard is {twice!r}, which is named already; name every metric once", param="guard")
        numbers = {"better_by": self.better_by, **{f"margin of {one.metric}": one.margin for one in self.guards}}
        for name, value in numbers.items():
            if not math.isfinite(value) or value < 0:
                param = "better_by" if name == "better_by" else "guard"
                raise InvalidInput(f"{name} is {value}; expected a number that is not negative", param=param)
        if self.least_units < 1:
            raise InvalidInput(f"least_units is {self.least_units}; expected 1 at least", param="least_units")

    @property
    def metrics(self) -> tuple[str, ...]:
        """What must be measured."""
        return (self.target, *(guard.metric for guard in self.guards))

    @property
    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "guards": [asdict(guard) for guard in self.guards]}

    @property
    def digest(self) -> str:
        """Names what is asked for: the same gate has the same digest."""
        return digest_of(canonical_json(self.document))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Policy:
        """Out of what `document` made. Raises `InvalidInput` for anything else."""
        try:
            guards = tuple(Guard(str(one["metric"]), float(one["margin"])) for one in document.get("guards") or ())
            known = {key: value for key, value in document.items() if key in cls.__dataclass_fields__}
            if unknown := sorted(document.keys() - known.keys()):
                raise InvalidInput(f"gate has {unknown[0]!r}, which it does not know", param="gate")
            return cls(**{**known, "guards": guards})
        except (TypeError, KeyError, ValueError, AttributeError) as failed:
            form = '{"target": "label_exact", "better_by": 0.02, "guards": [{"metric": "loss", "margin": 0.1}]}'
            raise InvalidInput(f"gate is no gate; expected such as {form}", param="gate") from failed


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric that was measured. `improvement` and the ends of its 95 % interval are positive for a better candidate.

    The ends are None where there were too few units for an interval.
    """

    metric: str
    incumbent: float
    candidate: float
    improvement: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says: its word, and a sentence for everything that was asked for."""

    word: GateWord
    reasons: tuple[str, ...]


def judge(policy: Policy | None, figures: Iterable[Figure], units: int, data: str) -> Verdict:
    """Everything must hold, so no part of it is tested more leniently than alone (the intersection-union principle:
    R. L. Berger, Technometrics 24, 1982). One-sided tests at 2.5 % by the ends of the 95 % intervals.

    `units` are conversations of the evaluation set, `data` its digest.
    """
    if policy is None:
        return Verdict("measured", ("no gate was set, so there was nothing to pass",))
    found = {figure.metric: figure for figure in figures}
    answers = [_target(policy, found.get(policy.target))]
    answers += [_guard(guard, found.get(guard.metric)) for guard in policy.guards]
    if units < policy.least_units:
        answers.append(("undecided", f"{units} conversations are too few: the gate asks for {policy.least_units}"))
    if policy.data is not None and policy.data != data:
        answers.append(("undecided", f"the gate asks for the evaluation set {policy.data[7:19]}, not {data[7:19]}"))
    return Verdict(_worst([word for word, _ in answers]), tuple(reason for _, reason in answers))


def _worst(words: Sequence[GateWord]) -> GateWord:
    return next((word for word in ("failed", "undecided") if word in words), "passed")


def _target(policy: Policy, figure: Figure | None) -> tuple[GateWord, str]:
    name = f"target {policy.target}"
    if figure is None:
        return "undecided", f"{name} was not measured"
    asked = f"more than {policy.better_by:g} better is asked for"
    if figure.low is None or figure.high is None:
        return "undecided", f"{name}: {figure.improvement:+.4g}, of too few rows for an interval; {asked}"
    word: GateWord = (
        "passed" if figure.low > policy.better_by else "failed" if figure.high <= policy.better_by else "undecided"
    )
    return word, f"{name}: {_interval(figure)}; {asked}: {word}"


def _guard(guard: Guard, figure: Figure | None) -> tuple[GateWord, str]:
    name = f"guard {guard.metric}"
    if figure is None:
        return "undecided", f"{name} was not measured"
    asked = f"at most {guard.margin:g} worse is allowed"
    if figure.low is None or figure.high is None:
        return "undecided", f"{name}: {figure.improvement:+.4g}, of too few rows for an interval; {asked}"
    word: GateWord = (
        "passed" if figure.low > -guard.margin else "failed" if figure.high <= -guard.margin else "undecided"
    )
    return word, f"{name}: {_interval(figure)}; {asked}: {word}"


def _interval(figure: Figure) -> str:
    return f"{figure.improvement:+.4g}, 95 % interval {figure.low:+.4g} to {figure.high:+.4g}"
