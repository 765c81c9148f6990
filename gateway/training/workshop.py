"""What the routes of fine-tuning need: jobs, addresses that are told of their ends, and threads to ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from gateway.responses.lookups import Lookups
from gateway.told import told
from gateway.training.faults import FAULTS, said_of
from gateway.webhooks.sender import Destinations
from registry.db import now_ms
from registry.training.jobs import TrainingJob
from registry.training.store import TrainingJobs
from registry.webhooks.endpoints import WebhookEndpoints

T = TypeVar("T")
FRESH_MS = 10_000
"""After so long every worker knows what there is."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Of one process. `jobs` and `webhooks` block: they are asked through `do`."""

    jobs: TrainingJobs
    threads: Lookups
    webhooks: WebhookEndpoints
    destinations: Destinations
    samples: Lookups
    """Threads that send samples of events: whoever has a host that hangs waits for himself."""
    most_unfinished: int
    """Jobs of a tenant."""
    wandb_entity: str | None
    """In which Weights & Biases keeps runs of jobs; `None`: nowhere."""
    wait_until_served: Callable[[], object]
    """Until every worker has the newest catalog in force, or some seconds."""

    async def job(self, tenant: str, id_: str) -> TrainingJob:
        """A job of the tenant's, when its model is served. Raises `ApiError`."""
        job = await self.do(tenant, partial(self.jobs.get, tenant, id_))
        await self.served(tenant, [job])
        return job

    async def served(self, tenant: str, jobs: Iterable[TrainingJob]) -> None:
        """Return when all workers know the models of these jobs: whoever hears of a success asks its model at once."""
        if any(map(has_just_succeeded, jobs)):
            await self.do(tenant, self.wait_until_served)

    async def do(self, tenant: str, work: Callable[[], T]) -> T:
        """What `work` returns, in a thread, in this tenant's turn. Raises `ApiError`."""
        with told(FAULTS, said_of):
            return await self.threads.do(tenant, work)


def has_just_succeeded(job: TrainingJob) -> bool:
    """Whether a worker may not know its model yet."""
    return job.fine_tuned_model is not None and now_ms() - (job.finished_at_ms or 0) < FRESH_MS
