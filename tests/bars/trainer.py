"""kill -9 of a trainer's worker at 5 points: its jobs are completed by another worker, with the same adapter.

The points: before the first step, between checkpoints, right after a checkpoint, while the adapter is evaluated, and in
the transaction that publishes it. Each job is the same training, on a base of some thousand weights, with dropout, so
that every random number matters. `same_digest`: how many of the jobs that were completed have the weights of the
one that nothing happened to.

Then the same rows are trained by a recipe and by a plain TRL script, step by step in turns: `tokens_ratio` is the one's
tokens a second by the other's, at the median of the pairs of steps, on SmolLM2 in a full run, else on the tiny base.
Last, `poisoned_caught`: how many of twelve poisoned data sets are refused or warned of by name.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.training.jobs import TrainingJob
from tests.bars.support.commands import last_json
from tests.bars.support.poison import caught, count
from tests.bars.support.trainers import CHECKPOINT_STEPS, DIES_PUBLISHING, Workshop, worker_process, workshop
from tests.live.installation import default_base_folder
from tests.support.waiting import wait_until

Moment = Callable[[Workshop, TrainingJob], bool]


def _before_the_first_step(shop: Workshop, job: TrainingJob) -> bool:
    return shop.job(job).status == "running" and shop.last_step(job) == 0


def _between_checkpoints(shop: Workshop, job: TrainingJob) -> bool:
    return shop.last_step(job) > CHECKPOINT_STEPS and shop.last_step(job) % CHECKPOINT_STEPS != 0


def _right_after_a_checkpoint(shop: Workshop, job: TrainingJob) -> bool:
    return bool(shop.registry.training.checkpoints(None, job.id, None, 1))


def _while_evaluating(shop: Workshop, job: TrainingJob) -> bool:
    return shop.said(job, "Asking the adapter")


MOMENTS: dict[str, Moment | None] = {
    "after-checkpoint": _right_after_a_checkpoint,
    "first-step": _before_the_first_step,
    "between": _between_checkpoints,
    "evaluating": _while_evaluating,
    "publishing": None,
}
"""By the name of the job's adapter; `None`: the worker kills itself."""


def run(folder: Path, scale: float) -> dict[str, Any]:
    """One job that nothing happens to, and one for every kill."""
    moments = dict(list(MOMENTS.items())[: max(1, round(len(MOMENTS) * scale))])
    log = folder / "workers.log"
    with workshop(folder) as shop:
        with worker_process(shop.settings, log):
            whole = _ended(shop, shop.order("whole"))
        ended = [_killed(shop, adapter, moment, log) for adapter, moment in moments.items()]
        completed = [job for job in ended if job.status == "succeeded"]
        same = [job for job in completed if shop.weights(job) == shop.weights(whole)]
    speed = _speed(folder / "tiny-llama", scale)
    figures = {"kills": len(moments), "completed": len(completed), "same_digest": len(same)}
    verdicts = caught(folder / "poisoned")
    figures |= {"poisoned_caught": count(verdicts)}
    figures |= {"tokens_ratio": speed["tokens_ratio"], "tokens_per_second": speed["tokens_per_second"]}
    return {
        "figures": figures,
        "trainings": speed["trainings"],
        "bars": {
            "every job of a killed worker is completed by another": len(completed) == len(moments),
            "each has the weights of the one that nothing happened to": len(same) == len(moments),
            "every poisoned set is refused or warned of by name": count(verdicts) == len(verdicts),
        },
        "speed": {"a recipe trains as fast as a plain TRL script": speed["tokens_ratio"] >= 1.0},
    }


def _speed(tiny_base: Path, scale: float) -> dict[str, Any]:
    base = default_base_folder() if scale >= 1 else tiny_base
    steps = "16" if scale >= 1 else "3"
    figures, _ = last_json(
        [
            *(sys.executable, "-m", "tests.bars.support.training_speed", "--base", str(base)),
            *("--rows", "examples/triage/train.jsonl", "--steps", steps),
        ]
    )
    return figures


def _killed(shop: Workshop, adapter: str, moment: Moment | None, log: Path) -> TrainingJob:
    """The job as it ended: its first worker was killed at that moment, and a second one took it over."""
    job = shop.order(adapter)
    program = ("-c", DIES_PUBLISHING) if moment is None else ()
    with worker_process(shop.settings, log, *program) as victim:
        if moment is not None:
            wait_until(f"the moment {adapter}", lambda: moment(shop, job) or victim.poll() is not None, 300.0)
            victim.send_signal(signal.SIGKILL)
        assert victim.wait(300) == -signal.SIGKILL, log.read_text()[-2000:]
    with worker_process(shop.settings, log):
        return _ended(shop, job)


def _ended(shop: Workshop, job: TrainingJob) -> TrainingJob:
    return shop.wait(f"{job.id} to end", job, lambda now: now.has_ended)
