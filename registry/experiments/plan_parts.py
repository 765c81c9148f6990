"""The tables of a plan: steps of its ramp, who is in it, what it is decided by, what it may use up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from registry.errors import InvalidInput
from registry.experiments.metrics import AUTOMATIC, DEFAULT_METRIC, JUDGED, Direction, check_feedback_name, direction_of
from registry.names import VERSION
from registry.splits.ranges import FULL_WEIGHT

MOST_UNITS = 1_000_000
"""Units of one experiment: each is a row until long after its end."""
MOST_TEXT = 200
FINEST_PERCENT = 0.01
"""Of the traffic: one bucket of a split."""

Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT, pattern=r"^[^\x00-\x1f\x7f]*$")]
Measured = Annotated[Text, AfterValidator(lambda name: _measured(name))]
Listed = Field(strict=False)
"""TOML and JSON have lists where these models have tuples."""


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
        default=None, gt=0, le=1e9, description="That its treatments' answers may cost; copies have `shadow.dollars`."
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
    judge: Text | None = Field(
        default=None,
        description="The model whose verdicts on pairs count for metric `judge_win`, as `experiments judge --judge` "
        "names it. Default: none.",
    )

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
PARTS: Mapping[str, type[Part]] = {
    "ramp": Step,
    "audience": Audience,
    "metric": Metric,
    "guardrails": Guardrail,
    "budget": Budget,
    "shadow": Copied,
}
"""Fields of a plan that are tables, or lists of them."""


def unlisted(value: Any) -> Any:
    """The same with tuples for lists."""
    if isinstance(value, Mapping):
        return {name: unlisted(one) for name, one in value.items()}
    return tuple(unlisted(one) for one in value) if isinstance(value, list) else value
