"""What the routes of fine-tuning need: jobs, addresses that are told of their ends, and threads to ask for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.responses.lookups import Lookups
from gateway.training.faults import FAULTS, said_of
from gateway.webhooks.sender import Destinations
from registry.training.store import TrainingJobs
from registry.webhooks.endpoints import WebhookEndpoints

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Workshop:
    """Of one process. `jobs` and `webhooks` block: they are asked through `do`."""

    jobs: TrainingJobs
    threads: Lookups
    webhooks: WebhookEndpoints
    destinations: Destinations
    most_unfinished: int
    """Jobs of a tenant."""

    async def do(self, tenant: str, work: Callable[[], T]) -> T:
        """What `work` returns, in a thread, in this tenant's turn. Raises `ApiError`."""
        try:
            return await self.threads.do(tenant, work)
        except FAULTS as error:
            raise said_of(error) from error
