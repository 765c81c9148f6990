"""The model that writes drafts: some requests at a time, and after one that failed for good no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from trainer.data.synthetic.asking import SYSTEM
from trainer.endpoints.client import Client, Manner, Reply, Spent, client_of
from trainer.endpoints.endpoint import Endpoint
from trainer.errors import EndpointError


@dataclass(frozen=True, slots=True)
class WriterOrder:
    """Who writes, where it is asked, how, and so many requests at a time."""

    endpoint: Endpoint
    model: str
    manner: Manner
    at_once: int


class Writer:
    """Asks for samples. Made by `writer_of`."""

    def __init__(self, order: WriterOrder, client: Client, pool: ThreadPoolExecutor) -> None:
        self.model, self.api = order.model, order.endpoint.api
        self._manner, self._client, self._pool = order.manner, client, pool
        self._turns = asyncio.Semaphore(order.at_once)
        self._broken: EndpointError | None = None  # then all that wait end at once

    @property
    def spent(self) -> Spent:
        """Until now."""
        return self._client.spent

    async def ask(self, prompt: str, schema: Mapping[str, Any]) -> Reply:
        """One answer, JSON of that schema if the endpoint can. Raises EndpointError."""
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
        manner = replace(self._manner, schema=schema)
        async with self._turns:
            if self._broken is not None:
                raise self._broken
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._pool, self._client.chat, self.model, messages, manner)
            except EndpointError as error:
                self._broken = error
                raise


@asynccontextmanager
async def writer_of(order: WriterOrder) -> AsyncIterator[Writer]:
    """One that asks until the end of the block."""
    with client_of(order.endpoint) as client, ThreadPoolExecutor(order.at_once, "writer") as pool:
        yield Writer(order, client, pool)
