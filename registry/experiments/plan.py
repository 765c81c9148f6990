"""What an experiment is to do, as somebody wrote it down: frozen from its start on.

Only pydantic: the gateway, the command line and the analyst read plans with these very models. Unknown keys are
refused, because a typing error must not become a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from registry.errors import InvalidInput
from registry.experiments import windows
from registry.experiments.metrics import JUDGED
from registry.experiments.plan_parts import (
    DEFAULT_GUARDRAILS,
    DEFAULT_RAMP,
    FINEST_PERCENT,
    PARTS,
    Audience,
    Budget,
    Copied,
    Guardrail,
    Listed,
    Metric,
    Part,
    Step,
    Text,
    unlisted,
)
from registry.names import NAME, VERSION
from registry.splits.ranges import FULL_WEIGHT
from registry.splits.rows import BASE

MOST_ARMS = 8
"""Treatments of one experiment."""
MOST_WINS = 0.5
"""That `judge_win` can be: all pairs are won, less one half."""
Unit = Literal["conversation", "end_user", "request", "window"]


class Plan(Part):
    """An experiment's plan."""

    treatments: Annotated[tuple[Text, ...], Listed] = Field(
        min_length=1,
        max_length=MOST_ARMS,
        description="Versions of the adapter that are tried, such as 1.1; `base` is its base model without adapter.",
    )
    control: str | None = Field(
        default=None,
        pattern=rf"^{VERSION.pattern}$",
        description="What they are tried against: what the alias points at. Named, it must be that.",
    )
    weights: dict[Text, int] | None = Field(
        default=None, description="Treatment → its part of the treatments' traffic. Default: equal parts."
    )
    ramp: Annotated[tuple[Step, ...], Listed] = Field(
        default=DEFAULT_RAMP, min_length=1, max_length=50, description="Steps of the treatments' share, rising."
    )
    unit: Unit = Field(
        default="conversation",
        description="What stays on one arm: `conversation` (header, stored conversation, metadata, first turn); "
        "`end_user`, where requests name one by `safety_identifier` or `user`; `request`, for what has no state; or "
        "`window`: whatever comes in one window of time, for metrics of time on shared engines.",
    )
    window_s: int | None = Field(
        default=None,
        ge=windows.LEAST_S,
        le=windows.MOST_S,
        description=f"With unit `window`: seconds of a window. Default: {windows.DEFAULT_S}.",
    )
    settle_s: float | None = Field(
        default=None,
        ge=0,
        description="With unit `window`: requests of so many first seconds of each window count for nothing. Default: "
        "a tenth of it.",
    )
    salt: str | None = Field(
        default=None, pattern=r"^[0-9A-Za-z._-]{8,64}$", description="Of the hash of units. Default: a random one."
    )
    audience: Audience = Audience()
    holdout_percent: float = Field(
        default=0.0, ge=0, le=50, description="Of the adapter's units, that none of its experiments touches."
    )
    metric: Metric = Metric()
    guardrails: Annotated[tuple[Guardrail, ...], Listed] = Field(default=DEFAULT_GUARDRAILS, max_length=20)
    alpha: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="How often, at most, a treatment that is no better wins, over the whole experiment.",
    )
    budget: Budget = Budget()
    shadow: Copied | None = Field(
        default=None, description="Copies of requests to a treatment, if the tenant consents. Default: none."
    )
    on_win: Literal["promote", "ask"] = Field(
        default="promote", description="What follows when a treatment has won at the ramp's end."
    )
    on_harm: Literal["rollback", "pause"] = Field(
        default="rollback", description="What follows when a guardrail, the sample ratio or the breaker says no."
    )
    fallback: Literal["none", "control"] = Field(
        default="none",
        description="What answers when a treatment's version cannot be loaded: an error, or the control; such a "
        "request still counts for its treatment.",
    )

    @field_validator("treatments")
    @classmethod
    def _are_arms(cls, treatments: tuple[str, ...]) -> tuple[str, ...]:
        for arm in treatments:
            if "/" in arm or ":" in arm:
                raise ValueError(
                    f"{arm!r} is no version of the adapter; external models can be arms as soon as a kind of engine "
                    "for them exists"
                )
            if arm != BASE and VERSION.fullmatch(arm) is None:
                raise ValueError(f"{arm!r} is no version; write MAJOR.MINOR such as 1.1, or {BASE}")
        if len(set(treatments)) < len(treatments):
            raise ValueError("name every treatment once")
        return treatments

    @field_validator("ramp")
    @classmethod
    def _rises(cls, ramp: tuple[Step, ...]) -> tuple[Step, ...]:
        shares = [step.weight for step in ramp]
        if shares[0] < 1 or any(later <= earlier for earlier, later in pairwise(shares)):
            raise ValueError(f"percents must rise from {FINEST_PERCENT} to 100 at most, by {FINEST_PERCENT} at least")
        return ramp

    @field_validator("guardrails")
    @classmethod
    def _named_once(cls, guardrails: tuple[Guardrail, ...]) -> tuple[Guardrail, ...]:
        if len({one.metric for one in guardrails}) < len(guardrails):
            raise ValueError("name every metric once")
        return guardrails

    @model_validator(mode="after")
    def _fits_together(self) -> Plan:
        if fault := windows.fault_in(self.unit, self.window_s, self.settle_s, self.metric.window_s):
            raise ValueError(fault)
        if self.control in self.treatments:
            raise ValueError(f"control is {self.control!r}, which is a treatment too; try another version against it")
        if self.shadow is not None and self.copied_to is None:
            raise ValueError(
                f"shadow.version is {self.shadow.version!r}; copies go to one of the treatments that are versions"
            )
        if fault := self._fault_of_judging():
            raise ValueError(fault)
        if self.weights is not None:
            if self.weights.keys() != set(self.treatments):
                raise ValueError(
                    f"weights are of {', '.join(self.weights)[:80]}; give one to every treatment and nothing else"
                )
            if any(not 0 < weight <= FULL_WEIGHT for weight in self.weights.values()):
                raise ValueError(f"weights are {_shown(list(self.weights.values()))}; each is 1 to {FULL_WEIGHT}")
        if self.ramp[0].weight < len(self.treatments):
            raise ValueError(
                f"ramp begins with {self.ramp[0].percent:g} %, too little for {len(self.treatments)} treatments; "
                f"begin with {len(self.treatments) * FINEST_PERCENT:g} % at least"
            )
        if self.on_win == "promote" and BASE in self.treatments:
            raise ValueError(f'on_win is "promote", and {BASE} is a treatment, which no alias can point at; say "ask"')
        return self

    def _fault_of_judging(self) -> str | None:
        """What does not fit where a judge decides, and the remedy."""
        if any(one.metric == JUDGED for one in self.guardrails):
            return f"guardrails have {JUDGED}, which is of pairs and no unit's; make it the primary metric"
        if not self.judged:
            return None
        if self.shadow is None or self.shadow.judge is None:
            return (
                f'metric is {JUDGED}, which a judge finds in pairs of answers; add [shadow] with judge = "MODEL", and '
                "let `switchyard experiments judge` run"
            )
        if len(self.treatments) > 1:
            return f"metric is {JUDGED}, and copies go to one treatment alone; try one at a time"
        if self.metric.direction != "higher":
            return f'metric.direction is "lower", and to win more pairs is better; say "higher" for {JUDGED}'
        if abs(self.metric.margin) >= MOST_WINS:
            return f"metric.margin is {self.metric.margin:g}, of a share of pairs less one half; write less than 0.5"
        return None

    def weights_at(self, step: int) -> dict[str, int]:
        """Arm → 1/10,000 of the traffic at a step of the ramp, control first; they sum to 10,000.

        Each treatment has its part of the step's share, rounded so that the parts sum to it (largest remainder).
        """
        assert self.control is not None, "it is known from the start on"
        share = self.ramp[step].weight
        parts = self.weights or dict.fromkeys(self.treatments, 1)
        whole = sum(parts.values())
        given = {arm: share * parts[arm] // whole for arm in self.treatments}
        by_rest = sorted(self.treatments, key=lambda arm: -(share * parts[arm] % whole))
        for arm in by_rest[: share - sum(given.values())]:
            given[arm] += 1
        return {self.control: FULL_WEIGHT - share, **given}

    @property
    def copied_to(self) -> str | None:
        """The version that gets copies of requests; `None` without any."""
        versions = [arm for arm in self.treatments if arm != BASE]
        if self.shadow is None or not versions:
            return None
        wanted = self.shadow.version or versions[0]
        return wanted if wanted in versions else None

    @property
    def arms(self) -> tuple[str, ...]:
        """Control first."""
        assert self.control is not None, "it is known from the start on"
        return (self.control, *self.treatments)

    @property
    def judged(self) -> bool:
        """Whether a judge decides, by pairs of answers."""
        return self.metric.name == JUDGED

    @property
    def counted(self) -> str:
        """What its units are called when they are counted."""
        return "window" if self.unit == windows.WINDOW else "unit"

    @property
    def window_ms(self) -> int:
        """Of a unit that is a window; 0 of others."""
        return 1000 * (self.window_s or 0)

    @property
    def holdout_weight(self) -> int:
        """In 1/10,000 of the adapter's units."""
        return round(self.holdout_percent * FULL_WEIGHT / 100)

    @property
    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return self.model_dump(mode="json")

    @classmethod
    def stored(cls, document: Mapping[str, Any]) -> Plan:
        """As it is in the database, where `of` has checked it: rules that came later refuse nothing of it."""
        values = {name: value for name, value in unlisted(document).items() if name in cls.model_fields}
        for name, part in PARTS.items():
            given = values.get(name)
            if isinstance(given, tuple):
                values[name] = tuple(part.model_construct(**one) for one in given)
            elif given is not None:
                values[name] = part.model_construct(**given)
        return cls.model_construct(**values)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Plan:
        """Out of TOML or JSON. Raises `InvalidInput` that names the field, its value and what it should be."""
        given = windows.with_defaults(document)
        if BASE in _texts(given.get("treatments")):
            given.setdefault("on_win", "ask")
        try:
            return cls.model_validate(given)
        except ValidationError as failed:
            raise _refusal(failed, given) from None


def _texts(given: Any) -> Sequence[Any]:
    return given if isinstance(given, list | tuple) else ()


def _refusal(failed: ValidationError, given: Mapping[str, Any]) -> InvalidInput:
    fault = failed.errors(include_url=False)[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).removeprefix(".")
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "a plan has no such field; `switchyard experiments create --help` and docs/experiments.md show all"
    if fault["type"] == "missing":
        return InvalidInput(f"{path} is missing; a plan needs it", param=path)
    if not path:  # a rule of several fields, whose message begins with one of them
        return InvalidInput(message, param=message.partition(" ")[0])
    return InvalidInput(f"{path} is {_shown(fault['input'])}: {message}", param=path)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def check_experiment_name(name: str) -> str:
    """The name, if it is one. Raises `InvalidInput`; digits alone would be an id."""
    if NAME.fullmatch(name) is None or name.isdigit():
        raise InvalidInput(
            f"name is {name[:80]!r}; an experiment's has 1 to 63 characters a-z, 0-9 and '-', and one letter at least",
            param="name",
        )
    return name
