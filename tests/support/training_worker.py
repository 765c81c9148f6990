"""A worker of the trainer without a trainer: it takes jobs up and ends them as a test says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from loadtest.folders import write_adapter
from registry.training.jobs import Claim, JobError, Publication, TrainingJob
from tests.support.adapter_folders import TinyBase
from tests.support.stack import House

LONG_S = 600.0
_SEEDS = count(1)


@dataclass
class FakeWorker:
    """Whatever job is next is this worker's."""

    house: House
    name: str = "worker-1"
    config: Mapping[str, Any] = field(default_factory=lambda: TinyBase().config)
    """Of the base that its adapters are for."""

    def claim(self) -> Claim:
        """The next job."""
        claim = self.house.registry.training.claim(self.name, LONG_S)
        assert claim is not None, "no job waits"
        return claim

    def train(self, steps: int = 2, **facts: Any) -> TrainingJob:
        """The next job, until it has made so many checkpoints."""
        jobs, job = self.house.registry.training, self.claim().job
        jobs.advance(job.id, self.name, "queued")
        jobs.advance(job.id, self.name, "running", **facts)
        for step in range(1, steps + 1):
            metrics = {"train_loss": 2.0 / step, "valid_loss": 2.5 / step}
            jobs.say(job.id, self.name, "info", f"Step {step}/{steps}", "metrics", {"step": step, **metrics})
            jobs.checkpoint(job.id, self.name, step, metrics, f"sha256:{job.id}-{step}")
        return jobs.get(None, job.id)

    def succeed(self, job: TrainingJob) -> TrainingJob:
        """It made an adapter unlike any other."""
        folder = write_adapter(self.house.folder / "trained" / job.id, self.config, seed=90_000 + next(_SEEDS))
        publication = Publication(folder, {"source": "training", "job": job.id})
        return self.house.registry.training.finish(
            job.id, self.name, "succeeded", publication=publication, trained_tokens=1_234
        )

    def fail(self, job: TrainingJob, error: JobError) -> TrainingJob:
        """It made nothing."""
        return self.house.registry.training.finish(job.id, self.name, "failed", error=error)

    def drop_all(self) -> None:
        """No job is left that waits or runs."""
        jobs = self.house.registry.training
        for job in jobs.page(None, None, 1_000):
            if not job.has_ended:
                jobs.order(None, job.id, "cancel")
