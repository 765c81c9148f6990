"""Who keeps this process's limits apart from those of others: nobody, the fleet's controller, or Valkey."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress

from sqlalchemy.exc import SQLAlchemyError

from gateway.limits.borrower import Borrower
from gateway.limits.lending import Lender, LenderLost
from gateway.limits.limits import Limits
from gateway.settings import GatewaySettings
from registry.fleet.workers import WorkerInfo
from registry.limits.spending import SpendingBooks

log = logging.getLogger("switchyard.limits")
LOOK_S = 5.0


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
    store = None
    if settings.limits_store is not None:
        from gateway.limits.valkey_pool import ValkeyPool  # its library takes 10 MB

        store = ValkeyPool(settings.limits_store)
    borrower = Borrower(store or controller, writer, limits.counters, fails_open=settings.limits_fail_open)
    limits.source = borrower
    task = asyncio.create_task(borrower.run())
    try:
        yield
    finally:
        borrower.stop()
        await task
        with suppress(LenderLost):
            await borrower.give_back()
        if store is not None:
            await store.close()


async def warn_of_others(limits: Limits, live: Callable[[], Collection[WorkerInfo]], worker_id: str) -> None:
    """Say once that another gateway serves from the same database, while this one counts alone. `live` blocks."""
    while not limits.shared:
        await asyncio.sleep(LOOK_S)
        try:
            others = sorted({one.url for one in await asyncio.to_thread(live) if one.id != worker_id})
        except SQLAlchemyError:
            continue  # others say often enough that the database is away
        if others and limits.counters():
            log.warning(
                "%s serves from this database too, and each gateway counts limits alone: together they let through "
                "more than each limit. Set SWITCHYARD_LIMITS_STORE on all of them",
                ", ".join(others),
            )
            return
