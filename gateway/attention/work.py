"""Jobs that do not come further, and addresses that do not take what they are told."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.attention.item import Item, Known
from registry.training.waiting import waiting_jobs

WAITS_MS = 3_600_000
"""A job that nobody has taken for so long waits for a trainer that is not there, or has too much to do."""
STUCK_ATTEMPTS = 2
"""A job that so many workers have taken up without coming further is stuck."""
MOST_WEBHOOKS = 500


def job_items(known: Known) -> Iterator[Item]:
    """Jobs that have not ended."""
    for job in waiting_jobs(known.registry.db, known.at_ms, STUCK_ATTEMPTS):
        stuck = job.attempts >= STUCK_ATTEMPTS
        if not stuck and known.at_ms - job.since_ms < WAITS_MS:
            continue
        tried = f"{job.attempts} workers have taken it up and none came further"
        yield Item(
            "job_stuck" if stuck else "job_waiting",
            "act",
            job.id,
            f"job {job.id} of {job.tenant} is {job.status}: {tried if stuck else 'no trainer takes it'}",
            "look at its events, then cancel it" if stuck else "start a trainer, or one more",
            f"switchyard jobs events {job.id}" if stuck else "switchyard trainer",
            f"/training/jobs/{job.id}",
            tenant=job.tenant,
            since_ms=job.since_ms,
        )


def webhook_items(known: Known) -> Iterator[Item]:
    """Addresses whose last delivery failed."""
    for one in known.registry.webhooks.page(None, None, MOST_WEBHOOKS):
        if one.fault is not None:
            yield Item(
                "webhook_failing",
                "watch",
                one.id,
                f"{one.url} of {one.tenant} did not take what it was told: {one.fault}",
                "tell the tenant; deliveries are tried again for three days",
                f"switchyard webhooks list {one.tenant}",
                f"/tenants/{one.tenant}",
                tenant=one.tenant,
                since_ms=one.tried_at_ms,
            )
