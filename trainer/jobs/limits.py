"""How long a job may be worked on, so that no tenant's job has a worker for ever."""

from __future__ import annotations

import time

from registry.training.jobs import Claim
from trainer.jobs.lines import Failed
from trainer.jobs.settings import TrainerSettings

TRAINED = "trained_s"
"""Its key in a job's facts: the seconds for which workers have trained it, as far as they lived to say so."""
MAX_SECONDS = "max_seconds"
"""Its key in a job's options."""
CODE = "time_limit_exceeded"


class TimeLimit:
    """Of one claim, from now on: of checking, or of what is left for training."""

    def __init__(self, claim: Claim, settings: TrainerSettings) -> None:
        self._validates = claim.work == "validate"
        self._begun_s = time.monotonic()
        self._before_s = 0.0 if self._validates else float(claim.job.facts.get(TRAINED, 0.0))
        asked = claim.job.order.options.get(MAX_SECONDS)
        self._asked_s = None if asked is None or self._validates else float(asked)
        allowed_s = settings.trainer_check_s if self._validates else settings.trainer_most_s
        self.most_s = allowed_s if self._asked_s is None else min(allowed_s, self._asked_s)

    @property
    def taken_s(self) -> float:
        """Until now, by all workers that had it."""
        return self._before_s + time.monotonic() - self._begun_s

    @property
    def is_over(self) -> bool:
        """Whether the job has had its time."""
        return self.taken_s > self.most_s

    @property
    def failed(self) -> Failed:
        """What becomes of the job then."""
        if self._validates:
            text = (
                f"its files were not checked within {self.most_s:,.0f} s, which is what this operator allows; order it "
                "with fewer or shorter rows, or ask the operator for more (SWITCHYARD_TRAINER_CHECK_S)"
            )
            return Failed(CODE, text, "training_file")
        less = "order fewer epochs, fewer rows, or a smaller training.max_length_tokens"
        if self.most_s == self._asked_s:
            text = f"it was trained for {self.most_s:,.0f} s, as switchyard.max_seconds says; give it more, or {less}"
            return Failed(CODE, text, "switchyard.max_seconds")
        text = (
            f"it was trained for {self.most_s:,.0f} s, which is what this operator allows; {less}, or ask the operator "
            "for more (SWITCHYARD_TRAINER_MOST_S)"
        )
        return Failed(CODE, text, "hyperparameters")
