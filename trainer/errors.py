"""Every error that the trainer raises on purpose; the command line turns each into one message and exit status 1.

TrainerError
├── BaseModelError     the base model folder cannot be built or used
├── RecipeError        a field of RECIPE.toml is wrong: names file, field, value, remedy
├── DataError          rows of a data file are wrong: carries every fault with its line
├── TrainingRefused    the run would produce, or did produce, nothing worth publishing
├── TrainingStopped    it was told to stop, after a checkpoint from which it can go on
├── EndpointError      a model that is asked over HTTP does not answer, or not as its API says
└── EvaluationError    versions cannot be compared: an option is wrong, or there is nothing to compare
"""

from __future__ import annotations


class TrainerError(Exception):
    """Root of the tree; the message alone tells a person what to do."""


class BaseModelError(TrainerError):
    """The base model's source is missing, incomplete, or not a model."""


class RecipeError(TrainerError):
    """The recipe cannot be used as it is written."""


class TrainingRefused(TrainerError):
    """Training would be, or was, without effect."""


class TrainingStopped(TrainerError):
    """Whoever watches the training has stopped it; its last checkpoint is of `step`."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the training was stopped after step {step}; it can go on from its last checkpoint")
        self.step = step


class EvaluationError(TrainerError):
    """Versions cannot be compared as it was asked for."""


class EndpointError(TrainerError):
    """An endpoint does not answer, or not as its API says. `status`, `said` and `code` are of its refusal, if
    it answers.
    """

    def __init__(self, message: str, status: int | None = None, said: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.said = said
        self.status = status
        self.code = code
