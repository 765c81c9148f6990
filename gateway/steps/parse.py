"""From the bytes of a body to a checked request: small bodies at once, large ones beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from gateway.api.request import Caps, Endpoint, InferenceRequest, parse_request
from gateway.handoffs import Principal

T = TypeVar("T")
LARGE_BYTES = 32_768
"""Of a body whose work may take longer than to hand it to a thread and back, 0.1 ms."""


class Desk:
    """One thread for what takes long about large bodies. One piece of work at a time: several threads would take turns
    with the event loop for the interpreter, and it would have to wait for each of them.

    Tenants take turns, so that whoever sends many large bodies waits for himself.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")
        self._turn = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def do(self, tenant: str, work: Callable[[], T]) -> T:
        """What `work` returns, which runs in the thread."""
        mine = self._turns.get(tenant)
        if mine is None:
            mine = self._turns[tenant] = asyncio.Lock()
        async with mine, self._turn:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """End the thread when its work is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)


async def parse(desk: Desk, principal: Principal, endpoint: Endpoint, body: bytes, caps: Caps) -> InferenceRequest:
    """The checked request. Raises what `parse_request` raises."""
    work = partial(parse_request, endpoint, body, caps=caps, allow_unknown=principal.allow_unknown_fields)
    return work() if len(body) < LARGE_BYTES else await desk.do(principal.tenant, work)
