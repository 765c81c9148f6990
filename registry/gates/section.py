"""A gate as the order of a fine-tuning job may ask for it: only pydantic, for the gateway and the trainer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from registry.gates.policy import LEAST_UNITS, MAX_GUARDS, Guard, Policy
from registry.training.sections import Section

JobMetric = Literal["label_exact", "json_exact", "rouge_l", "accuracy", "macro_f1", "loss", "perplexity"]
"""Without those that are a tenant's own pattern or schema: nothing of a stranger's is run on our machines."""


class GuardSection(Section):
    """A metric on which the result may be worse than what is in production, by so much."""

    metric: JobMetric = Field(description="What is measured.")
    margin: float = Field(ge=0, description="By how much it may be worse at most, in the metric's own unit.")


class GateSection(Section):
    """What the result is compared by with the version in production, once it is published."""

    target: JobMetric = Field(description="The metric on which the result must be better.")
    better_by: float = Field(default=0.0, ge=0, description="By more than this, in the metric's own unit.")
    guards: list[GuardSection] = Field(
        default=[], max_length=MAX_GUARDS, description="Metrics on which it may be a little worse at most."
    )
    least_units: int = Field(
        default=LEAST_UNITS,
        ge=1,
        le=1_000_000,
        json_schema_extra={"unit": "conversations"},
        description="Held-out conversations that it takes to say anything.",
    )

    @field_validator("guards")
    @classmethod
    def _once(cls, guards: list[GuardSection], info: ValidationInfo) -> list[GuardSection]:
        names = [info.data.get("target"), *(guard.metric for guard in guards)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f'"{twice}" is named already; name every metric once')
        return guards

    @property
    def policy(self) -> Policy:
        """As gates are."""
        guards = tuple(Guard(guard.metric, guard.margin) for guard in self.guards)
        return Policy(self.target, self.better_by, guards, self.least_units)
