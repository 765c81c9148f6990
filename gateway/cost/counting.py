"""Who keeps this process's limits apart from those of others: nobody, the fleet's controller, or Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.cost.borrower import Borrower
from gateway.cost.lending import Lender, LenderLost
from gateway.cost.limits import Limits
from gateway.cost.valkey_pool import ValkeyPool
from gateway.settings import GatewaySettings
from registry.spending import SpendingBooks


def limits_of(settings: GatewaySettings, spending: SpendingBooks, writer: str) -> Limits:
    """The limits of a process, which the ledger knows by the name of its journal's `writer`.

    A gateway of one process counts alone, unless `limits_store` is set.
    """
    shared = settings.limits_store is not None or settings.workers > 1
    return Limits(spending, writer, shared=shared, fails_open=settings.limits_fail_open)


@asynccontextmanager
async def borrowing(limits: Limits, settings: GatewaySettings, writer: str, controller: Lender) -> AsyncIterator[None]:
    """Inside the block a process that shares its limits has its part of them; afterwards others have it."""
    if not limits.shared:
        yield
        return
    store = None if settings.limits_store is None else ValkeyPool(settings.limits_store)
    borrower = Borrower(store or controller, writer, limits.counters, fails_open=settings.limits_fail_open)
    limits.source = borrower
    task = asyncio.create_task(borrower.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with suppress(LenderLost):
            await borrower.give_back()
        if store is not None:
            await store.close()
