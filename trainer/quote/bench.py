"""A few steps of the training itself, timed on the machine that would run it."""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry.training.sections import TrackingSection
from registry.words import many
from trainer.errors import TrainingRefused
from trainer.methods.rows import Row
from trainer.quote.facts import Bench, row_tokens
from trainer.recipe import RecipeModel
from trainer.watch import Order, StepMetrics, Unwatched

WARM_UP_STEPS = 1
"""The first step pays for kernels that are chosen and memory that is taken for the first time."""
MEASURED_STEPS = 3


def measure(
    base_folder: Path, rows: Sequence[Row], recipe: RecipeModel, tokenizer: Any = None, start_from: Path | None = None
) -> Bench:
    """Train four steps on rows of all lengths, time the last three, and forget what was learnt.

    It loads a base of its own and lets go of it, so that a training afterwards has nothing of it. Raises what `train`
    raises: TrainingRefused when it diverges in these steps.
    """
    from trainer.methods.loading import load_base
    from trainer.methods.rows import Rows
    from trainer.methods.training import train
    from trainer.methods.tuning import check_targets

    steps = WARM_UP_STEPS + MEASURED_STEPS
    training = recipe.training.model_copy(
        update={"max_steps": steps, "epochs": None, "early_stopping_patience": None, "warmup_ratio": 0.0}
    )
    watch = _StopWatch()
    base = load_base(base_folder, tokenizer)
    check_targets(base, recipe)
    short = recipe.model_copy(update={"training": training, "tracking": TrackingSection()})
    _reset_peak()
    wanted = steps * training.batch_size * training.gradient_accumulation_steps
    try:
        train(base, Rows(spread(rows, wanted)), short, watch, start_from=start_from)
    except TrainingRefused:  # of what it learnt nothing is kept; but where it did not come so far, nothing is known
        if not watch.is_over:
            raise
    found = watch.bench()
    del base
    _let_go()
    return found


def spread(rows: Sequence[Row], count: int) -> list[Row]:
    """At most so many rows, of all lengths as often as these are there."""
    ordered = sorted(rows, key=row_tokens)
    if len(ordered) <= count:
        return ordered
    return [ordered[(2 * at + 1) * len(ordered) // (2 * count)] for at in range(count)]


class _StopWatch(Unwatched):
    """When each step ended, and how many tokens there had been by then."""

    def __init__(self) -> None:
        self._ends_s: dict[int, float] = {}
        self._tokens: dict[int, int] = {}

    def after(self, step: int, total_steps: int) -> Order:
        self._ends_s[step] = time.perf_counter()
        return "go"

    def metrics(self, measured: StepMetrics) -> None:
        if measured.trained_tokens is not None:
            self._tokens[measured.step] = measured.trained_tokens

    @property
    def is_over(self) -> bool:
        """Whether every step was made and measured."""
        return len(self._tokens) == WARM_UP_STEPS + MEASURED_STEPS

    def bench(self) -> Bench:
        """Of all steps but those that warm up."""
        steps = [
            step for step in sorted(self._ends_s) if step > WARM_UP_STEPS and {step, step - 1} <= self._tokens.keys()
        ]
        if not steps:
            raise TrainingRefused("no step could be timed: the rows are too few; add rows")
        device, memory, peak = _device()
        return Bench(
            device,
            tuple(self._ends_s[step] - self._ends_s[step - 1] for step in steps),
            tuple(self._tokens[step] - self._tokens[step - 1] for step in steps),
            memory,
            peak,
        )


def _device() -> tuple[str, int | None, int | None]:
    """Its name, its memory, and what was used of it at most."""
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        return f"cuda: {name}", torch.cuda.get_device_properties(0).total_memory, peak_bytes()
    return f"cpu: {many(torch.get_num_threads(), 'thread')}", memory_of_machine(), peak_bytes()


def peak_bytes() -> int:
    """The most of the GPU's memory that was in use, or, without one, of the machine's, by this whole process."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated(0))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # in KiB on Linux


def memory_of_machine() -> int | None:
    """Bytes that this process may use: the machine's, or the container's if that is less; None where neither tells."""
    found = []
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such figure here, or "max"
        pass
    return min(found, default=None)


def _reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats(0)


def _let_go() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
