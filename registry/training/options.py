"""From a job to its recipe: what OpenAI's fields say, what rides in `switchyard`, and what is left to us.

`checked` tells at the order what could not be trained; `settled` is what is trained, when the number of rows is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from registry.gates.section import GateSection
from registry.names import NAME
from registry.training.jobs import JobOrder
from registry.training.sections import SERVED, DataOptions, TrainingOptions, usual_learning_rate

AUTO = "auto"
ROWS_IN_MEMORY = 8
"""Of a step, at once; the others of the step come after them."""
OWN_FIELDS: Mapping[tuple[str, str], str] = {
    ("training", "method"): "method",
    ("training", "seed"): "seed",
    ("training", "epochs"): "n_epochs",
    ("model", "continue_from"): "model",
    ("dpo", "beta"): "method.dpo.hyperparameters.beta",
}
"""What OpenAI's own fields say, with their names: it is not said a second time."""


PLAIN = ("adapter", "dry_run", "max_seconds")
"""Options that are no sections."""
_SAID_BY: Mapping[str, tuple[str, ...]] = {
    "n_epochs": ("max_steps",),
    "batch_size": ("batch_size", "gradient_accumulation_steps"),
    "learning_rate_multiplier": ("learning_rate",),
}
"""Hyperparameters, and the fields of the section that say the same."""


class JobOptions(TrainingOptions):
    """`switchyard` of an order of a job: sections as in a recipe, and what is done with the result."""

    adapter: str | None = Field(
        default=None,
        pattern=rf"^{NAME.pattern}$",
        description="The adapter that the result is the next version of. Default: the suffix as a name, or a new one.",
    )
    dry_run: bool = Field(
        default=False, description="Check the files and quote tokens, memory, time and cost; train nothing."
    )
    max_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="How long the training may take in all; then the job has failed. Default and most: "
        "what the operator allows.",
    )
    gate: GateSection | None = Field(
        default=None,
        description="Compare the result with the version in production once it is published, and say whether it is "
        "better; nothing is promoted. Where the operator has set a gate, that one judges.",
    )
    data: DataOptions = DataOptions()


class Misplaced(ValueError):
    """A field of the options that another field of the order says, or speaks against."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path


@dataclass(frozen=True, slots=True)
class Settled:
    """What a job trains with."""

    options: JobOptions
    hyperparameters: Mapping[str, int | float]
    """OpenAI's, with numbers where `auto` was."""


def checked(order: JobOrder) -> JobOptions:
    """The options of an order. Raises `Misplaced` and pydantic's `ValidationError` for what cannot be trained."""
    for name, value in order.options.items():
        if name in JobOptions.model_fields and name not in PLAIN and not isinstance(value, Mapping):
            raise Misplaced(name, "it must be an object, a section of a recipe")
    for section, name in OWN_FIELDS:
        if name in order.options.get(section, {}):
            raise Misplaced(f"{section}.{name}", f"say it as '{OWN_FIELDS[section, name]}'")
    tuning = order.options.get("model", {}).get("tuning", "lora")
    if isinstance(tuning, str) and tuning not in SERVED:
        raise Misplaced(
            "model.tuning",
            f"a job makes what can be served here, by {' or '.join(sorted(SERVED))}; other kinds of tuning are for "
            "`switchyard train`",
        )
    training = order.options.get("training", {})
    for asked, names in _SAID_BY.items():
        given = order.hyperparameters.get(asked, AUTO)
        for name in names:
            if given != AUTO and name in training:
                raise Misplaced(f"training.{name}", f"'{asked}' is {given} and says it too; give one of the two")
    return settled(order, rows=1).options


def settled(order: JobOrder, rows: int) -> Settled:
    """What a job trains with, that has so many rows. Raises pydantic's `ValidationError`."""
    given = {**dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier"), AUTO), **order.hyperparameters}
    options = {name: dict(value) if isinstance(value, Mapping) else value for name, value in order.options.items()}
    training, model = _table(options, "training"), _table(options, "model")
    in_force: dict[str, int | float] = {}
    if "max_steps" not in training:
        in_force["n_epochs"] = training["epochs"] = _or(given["n_epochs"], usual_epochs(rows))
    if "batch_size" not in training and "gradient_accumulation_steps" not in training:
        in_force["batch_size"] = _or(given["batch_size"], usual_batch(rows))
        training |= _batches(int(in_force["batch_size"]))
    training |= {"method": "dpo" if order.method == "dpo" else "sft", "seed": order.seed or 0}
    if order.continues is not None:
        model["continue_from"] = order.continues
    if order.method == "dpo":
        in_force["beta"] = _table(options, "dpo")["beta"] = _or(given.get("beta", AUTO), 0.1)
    if "learning_rate" not in training:
        multiplier = in_force["learning_rate_multiplier"] = _or(given["learning_rate_multiplier"], 1.0)
        training["learning_rate"] = usual_learning_rate(training["method"], "lora") * multiplier
    return Settled(JobOptions.model_validate(options), in_force)


def usual_epochs(rows: int) -> int:
    """Passes over the rows where `n_epochs` is `auto`: the more rows, the fewer."""
    return 3 if rows < 3_000 else 2 if rows < 10_000 else 1


def usual_batch(rows: int) -> int:
    """Rows of a step where `batch_size` is `auto`.

    Few rows are shared out over about 30 steps a pass, as in fewer little is learnt; of many it is a 500th, and 32
    at most: LoRA learns less from larger ones.
    """
    return max(min(8, rows // 30), min(32, rows // 500), 1)


def _batches(rows: int) -> dict[str, int]:
    """Rows in memory at once, and how often, for a step of so many rows."""
    in_memory = next(size for size in range(min(rows, ROWS_IN_MEMORY), 0, -1) if rows % size == 0)
    return {"batch_size": in_memory, "gradient_accumulation_steps": rows // in_memory}


def _table(options: dict[str, Any], name: str) -> dict[str, Any]:
    table: dict[str, Any] = options.setdefault(name, {})
    return table


def _or(given: int | float | str, otherwise: int | float) -> int | float:
    return otherwise if isinstance(given, str) else given
