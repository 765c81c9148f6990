"""Trainings of the tiny base that need no files: rows of a few token ids, recipes of a few lines, and who watches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.training.sections import TrainingOptions
from trainer.data.encode import Encoded
from trainer.methods.results import Trained, save_trained
from trainer.methods.rows import EncodedPair, Rows
from trainer.watch import Level, StepMetrics, Unwatched

STOP_ID = 257
"""The tiny base's."""


def options(*, steps: int = 6, **sections: Mapping[str, Any]) -> TrainingOptions:
    """Sections of a recipe, with a rate at which the tiny base learns in a few steps."""
    training = {"max_steps": steps, "learning_rate": 1e-2, "batch_size": 4, **sections.pop("training", {})}
    return TrainingOptions.model_validate(
        {"training": training, "evaluation": {"metric": "label_exact"}, **sections}, strict=False
    )


def answers(number: int = 16) -> list[Encoded]:
    """Rows with five kinds of answer."""
    return [Encoded(line, (40 + line, 41, 42), (50 + line % 5, STOP_ID)) for line in range(1, number + 1)]


def pairs(number: int = 16) -> list[EncodedPair]:
    """Pairs: what is chosen is always the same, what is rejected another."""
    return [
        EncodedPair(
            Encoded(line, (40 + line, 41, 42), (50, STOP_ID)), Encoded(line, (40 + line, 41, 42), (60, 61, STOP_ID))
        )
        for line in range(1, number + 1)
    ]


def rows(method: str = "sft", *, valid: int = 0) -> Rows:
    """For a method; `valid` rows are other ones, which are not learnt."""
    made = pairs if method == "dpo" else answers
    return Rows(made(16), made(16 + valid)[16:])


def digest(trained: Trained, folder: Path) -> str:
    """Of the weights in the file that is made of them."""
    save_trained(trained, folder)
    (file,) = folder.glob("*.safetensors")
    return hashlib.sha256(file.read_bytes()).hexdigest()


@dataclass
class Noting(Unwatched):
    """Keeps what it is told."""

    said: list[tuple[str, str]] = field(default_factory=list)
    measured: list[StepMetrics] = field(default_factory=list)

    def say(self, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        self.said.append((level, message))

    def metrics(self, measured: StepMetrics) -> None:
        self.measured.append(measured)

    @property
    def losses(self) -> list[float]:
        """Of all steps."""
        return [one.train_loss for one in self.measured if one.train_loss is not None]

    @property
    def valid_losses(self) -> list[float]:
        """Of all evaluations."""
        return [one.full_valid_loss for one in self.measured if one.full_valid_loss is not None]
