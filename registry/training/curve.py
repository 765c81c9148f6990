"""What was measured while a job was trained, step by step, as a chart needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from registry.db import Database
from registry.training.jobs import NoSuchJob
from registry.training.rows import TrainingEvent, TrainingJobRow

MEASURES = (
    "train_loss",
    "valid_loss",
    "full_valid_loss",
    "train_mean_token_accuracy",
    "valid_mean_token_accuracy",
    "learning_rate",
    "grad_norm",
    "tokens_per_second",
)
"""What workers say of a step, by its name in the job's events."""
VALIDATIONS = ("valid_loss", "full_valid_loss")


@dataclass(frozen=True, slots=True)
class Curve:
    """Measures by step. `values[name]` has one entry a step, `None` where that was not measured."""

    total_steps: int | None
    """`None`: no worker has said yet."""
    steps: Sequence[int]
    values: Mapping[str, Sequence[float | None]]
    is_thinned: bool
    """Whether steps were left out; never the last one, and none with a validation, as long as those fit."""


def curve_of(db: Database, job_id: str, most: int) -> Curve:
    """Of one job, at most `most` steps. A step that was done again, from a checkpoint, is as it was the last time.
    Raises `NoSuchJob`.
    """
    with db.read() as session:
        job = session.scalars(select(TrainingJobRow.number).where(TrainingJobRow.id == job_id)).one_or_none()
        if job is None:
            raise NoSuchJob(job_id)
        of = select(TrainingEvent.data).where(TrainingEvent.job_number == job, TrainingEvent.type == "metrics")
        told = [
            data for data in session.scalars(of.order_by(TrainingEvent.number)) if isinstance(data.get("step"), int)
        ]
    by_step = {data["step"]: data for data in told}
    steps = sorted(by_step)
    kept = _thinned(steps, [step for step in steps if any(name in by_step[step] for name in VALIDATIONS)], most)
    values = {name: [by_step[step].get(name) for step in kept] for name in MEASURES}
    return Curve(
        total_steps=told[-1].get("total_steps") if told else None,
        steps=kept,
        values={name: line for name, line in values.items() if any(value is not None for value in line)},
        is_thinned=len(kept) < len(steps),
    )


def _thinned(steps: Sequence[int], wanted: Sequence[int], most: int) -> list[int]:
    if len(steps) <= most:
        return list(steps)
    must = [*wanted[-(most // 2) :], steps[-1]]
    room = max(most - len(set(must)), 1)
    return sorted({*must, *(steps[number * len(steps) // room] for number in range(room))})
