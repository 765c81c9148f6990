"""What an experiment is to do, as somebody wrote it down: frozen from its start on.

Only pydantic: the gateway, the command line and the analyst read plans with these very models. Unknown keys are
refused, because a typing error must not become a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from registry.errors import InvalidInput
from registry.experiments import windows
from registry.experiments.metrics import AUTOMATIC, DEFAULT_METRIC, JUDGED, Direction, check_feedback_name, direction_of
from registry.names import NAME, VERSION
from registry.splits.ranges import FULL_WEIGHT
from registry.splits.rows import BASE

MOST_ARMS = 8
"""Treatments of one experiment."""
MOST_UNITS = 1_000_000
"""Units of one experiment: each is a row until long after its end."""
MOST_TEXT = 200
FINEST_PERCENT = 0.01
"""Of the traffic: one bucket of a split."""

Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT, pattern=r"^[^\x00-\x1f\x7f]*$")]
Measured = Annotated[Text, AfterValidator(lambda name: _measured(name))]
Listed = Field(strict=False)
"""TOML and JSON have lists where these models have tuples."""
Unit = Literal["conversation", "end_user", "request", "window"]


class Part(BaseModel):
    """A table of a plan."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Step(Part):
    """A step of the ramp. The next one comes when this one has lasted long enough and has seen enough units."""

    percent: float = Field(ge=0, le=100, description="Of the experiment's units, that all treatments have together.")
    dwell_s: int = Field(default=900, ge=0, le=90 * 86_400, description="Seconds that it lasts at least.")
    min_units: int = Field(default=100, ge=0, le=MOST_UNITS, description="New units that treatments must have had.")

    @property
    def weight(self) -> int:
        """In 1/10,000."""
        return round(self.percent * FULL_WEIGHT / 100)


class Audience(Part):
    """Whose requests the experiment is about; all others get the control and are not in it."""

    keys: Annotated[tuple[Text, ...], Listed] = Field(
        default=(), max_length=100, description="Ids of API keys. Default: all."
    )
    metadata: dict[Text, Annotated[tuple[Text, ...], Field(strict=False, min_length=1, max_length=100)]] = Field(
        default_factory=dict,
        max_length=16,
        description="Key of a request's `metadata` → the values that it may have. Default: whatever it says.",
    )
    percent: float = Field(default=100.0, ge=FINEST_PERCENT, le=100, description="Of the units.")

    @property
    def everybody(self) -> bool:
        """Whether nobody is left out."""
        return not self.keys and not self.metadata and self.weight == FULL_WEIGHT

    @property
    def weight(self) -> int:
        """Of the units, in 1/10,000."""
        return round(self.percent * FULL_WEIGHT / 100)


def _with_direction(given: Any, field: str, remedy: str) -> Any:
    """The same with the metric's own direction where none is given. Raises `ValueError` for one that is not known."""
    if not isinstance(given, Mapping) or "direction" in given:
        return given
    name = given.get(field, DEFAULT_METRIC)
    known = direction_of(name) if isinstance(name, str) else None
    if known is None and isinstance(name, str):
        raise ValueError(remedy)
    return {**given, "direction": known or "lower"}


def _measured(name: str) -> str:
    """A metric of which there can be values. Raises `ValueError`."""
    try:
        return name if name in AUTOMATIC or name == JUDGED else check_feedback_name(name)
    except InvalidInput as error:
        raise ValueError(error.message) from None


class Metric(Part):
    """What a treatment must win by."""

    name: Measured = Field(default=DEFAULT_METRIC, description="An automatic metric, or one that feedback brings.")
    direction: Direction = Field(default="lower", description="Which values are better: `higher` or `lower`.")
    margin: float = Field(
        default=0.02,
        ge=-1e9,
        le=1e9,
        description="By how much a treatment may be worse and still win, in the metric's own unit. 0: it must be "
        "better. Below 0: better by more than that.",
    )
    window_s: int = Field(
        default=600,
        ge=0,
        le=30 * 86_400,
        description="Seconds after a unit's first served byte that belong to its value; then it is analysed, once.",
    )

    @model_validator(mode="before")
    @classmethod
    def _known_direction(cls, given: Any) -> Any:
        return _with_direction(given, "name", "a metric of feedback needs its direction, 'higher' or 'lower'")


class Guardrail(Part):
    """A metric on which a treatment may be a little worse, and no more."""

    metric: Measured = Field(description="As for the primary metric.")
    margin: float = Field(ge=0, le=1e9, description="By how much it may be worse, in the metric's own unit.")
    direction: Direction = Field(default="lower", description="Which values are better: `higher` or `lower`.")
    relative: bool = Field(default=False, description="The margin is a part of the control's value: 0.25 is a quarter.")

    @model_validator(mode="before")
    @classmethod
    def _known_direction(cls, given: Any) -> Any:
        return _with_direction(given, "metric", "a guardrail on feedback needs its direction, 'higher' or 'lower'")


class Budget(Part):
    """What the experiment may use up; then it is inconclusive and waits for a person."""

    dollars: float | None = Field(
        default=None, gt=0, le=1e9, description="That its treatments, its judge and its copies may cost."
    )
    units: int = Field(default=100_000, ge=1, le=MOST_UNITS, description="That may be in it.")
    days: float = Field(default=14.0, gt=0, le=365, description="Since its start.")


class Copied(Part):
    """Copies of the alias's requests, beside the experiment: a treatment answers them, and nobody gets its answers."""

    version: str | None = Field(
        default=None,
        pattern=rf"^{VERSION.pattern}$",
        description="The treatment. Default: the first that is a version.",
    )
    percent: float = Field(default=10.0, ge=FINEST_PERCENT, le=100, description="Of the alias's requests.")
    requests_per_day: int = Field(default=10_000, ge=1, le=10_000_000, description="Copies a UTC day at most.")
    dollars: float | None = Field(default=None, gt=0, le=1e9, description="That all copies may cost.")

    @property
    def weight(self) -> int:
        """In 1/10,000."""
        return round(self.percent * FULL_WEIGHT / 100)


DEFAULT_RAMP = (
    Step(percent=1.0, dwell_s=600, min_units=20),
    Step(percent=5.0, dwell_s=900, min_units=50),
    Step(percent=25.0, dwell_s=900, min_units=200),
    Step(percent=50.0, dwell_s=900, min_units=200),
    Step(percent=100.0, dwell_s=600, min_units=0),
)
DEFAULT_GUARDRAILS = (
    Guardrail(metric="errors", margin=0.02, direction="lower"),
    Guardrail(metric="latency_p95", margin=0.5, direction="lower", relative=True),
    Guardrail(metric="empty", margin=0.02, direction="lower"),
)


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
