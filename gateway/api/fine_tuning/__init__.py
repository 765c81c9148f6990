"""Fine-tuning for OpenAI's clients: jobs that a tenant orders here and a trainer's worker carries out.

The routes write rows of `registry.training` and read them; what is between is the worker's.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter

from gateway.api.fine_tuning.jobs import jobs_router
from gateway.api.fine_tuning.not_offered import not_offered_router
from gateway.house import House


def fine_tuning_routers(house: House) -> Iterator[APIRouter]:
    """All of them."""
    yield jobs_router(house)
    yield not_offered_router(house)
