"""What tests of fine-tuning jobs begin with."""

from __future__ import annotations

from typing import Any

from registry.training.jobs import JobOrder, TrainingJob
from registry.training.store import TrainingJobs

LONG_S, OVER_S = 600.0, 0.0
"""A lease that lasts, and one that has ended when it begins."""


def ordered(tenant: str = "acme", file: str = "file-1", **fields: Any) -> JobOrder:
    """An order of a training on the base `tiny`."""
    return JobOrder(tenant=tenant, model="tiny", base="tiny", training_file=file, **fields)


def messages(jobs: TrainingJobs, job: TrainingJob) -> list[str]:
    """Of all events, newest first."""
    return [event.message for event in jobs.events(job.tenant, job.id, None, 100)]


def running(jobs: TrainingJobs, worker: str = "w-1", **fields: Any) -> TrainingJob:
    """A job that this worker trains; no other waits."""
    jobs.create(ordered(**fields))
    claim = jobs.claim(worker, LONG_S)
    assert claim is not None
    jobs.advance(claim.job.id, worker, "queued")
    return jobs.advance(claim.job.id, worker, "running")
