"""Delivers what lies in the outbox, until it is taken or given up.

A thread with an event loop of its own does it: so nothing about anybody's host, not even a look-up of its name that
hangs, takes a thread or a moment of the gateway's loop. No tenant has more than a few deliveries under way at a time,
so that who answers slowly holds up nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread

from sqlalchemy.exc import SQLAlchemyError

from gateway.webhooks.sender import Destinations, Sender
from registry.names import SYSTEM
from registry.webhooks.outbox import Delivery, Outbox

log = logging.getLogger("switchyard.webhooks")
LOOK_S = 1.0
AT_ONCE, OF_ONE_TENANT = 32, 4
LOOKUPS = 128
"""Threads that look names up, of which most are never begun. A look-up goes on when its delivery is given up: those
that hang must leave some to others.
"""
LEASE_MS = 60_000
FIRST_WAIT_S, LONGEST_WAIT_S = 1, 3_600
"""Between two tries, twice as long each time."""
LONGEST_URGENT_S = 300
"""The same for warnings of budgets."""
MODEL_IS_THERE = "fine_tuning.job.succeeded"
SWEEP_S = 300.0
STOP_S = 2.0


class Courier:
    """Takes deliveries up and makes them."""

    def __init__(self, outbox: Outbox, destinations: Destinations, wait_until_served: Callable[[], object]) -> None:
        """`wait_until_served` returns when all workers serve a model that an event tells of, or after seconds."""
        self._outbox = outbox
        self._destinations = destinations
        self._wait_until_served = wait_until_served
        self._swept_s = float("-inf")

    async def run(self) -> None:
        """Deliver until cancelled, which breaks off what is under way: it will be taken up again.

        Raises what ended the thread. When cancelled, it waits for the thread for `STOP_S` at most.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Exception | None] = loop.create_future()
        task: Future[asyncio.Task[None]] = Future()

        def work() -> None:
            fault = None
            try:
                asyncio.run(self._deliver_for_ever(task))
            except asyncio.CancelledError:
                pass
            except Exception as error:
                fault = error
            with contextlib.suppress(RuntimeError):  # nobody waits any more: the gateway's loop is closed
                loop.call_soon_threadsafe(_settle, ended, fault)

        thread = Thread(target=work, name="webhooks", daemon=True)
        thread.start()
        try:
            if (fault := await ended) is not None:
                raise fault
        finally:
            await asyncio.to_thread(_stop, thread, task)

    async def _deliver_for_ever(self, task: Future[asyncio.Task[None]]) -> None:
        this = asyncio.current_task()
        assert this is not None
        task.set_result(this)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LOOKUPS, thread_name_prefix="names"))
        sender = Sender(self._destinations)
        under_way: dict[asyncio.Task[str | None], Delivery] = {}
        try:
            while True:
                try:
                    self._begin(sender, under_way)
                    self._sweep()
                except SQLAlchemyError as error:
                    log.warning("events cannot be delivered now, and will be: %s", error)
                if not under_way:
                    await asyncio.sleep(LOOK_S)
                    continue
                done, _ = await asyncio.wait(under_way, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    self._end(under_way.pop(one), one.result())
        finally:
            for one in under_way:
                one.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def _begin(self, sender: Sender, under_way: dict[asyncio.Task[str | None], Delivery]) -> None:
        room = AT_ONCE - len(under_way)
        if room <= 0:
            return
        busy = Counter(delivery.tenant for delivery in under_way.values())
        for delivery in self._outbox.take_up(room, LEASE_MS, most_of_one=OF_ONE_TENANT, busy=busy):
            under_way[asyncio.create_task(self._deliver(sender, delivery))] = delivery

    async def _deliver(self, sender: Sender, delivery: Delivery) -> str | None:
        """Whoever hears of a model asks it at once, so all workers know it before."""
        if delivery.type == MODEL_IS_THERE and delivery.attempts == 1:
            with contextlib.suppress(SQLAlchemyError):
                await asyncio.to_thread(self._wait_until_served)
        return await sender.deliver(delivery)

    def _end(self, delivery: Delivery, fault: str | None) -> None:
        if fault is not None:
            told = delivery.endpoint_id or "the operator's webhook"
            log.warning("%s did not take %s (try %d): %s", told, delivery.event_id, delivery.attempts, fault)
        try:
            self._outbox.settle(delivery, fault, wait_ms(delivery))
        except SQLAlchemyError as error:
            log.warning("how %s went cannot be noted, so it is delivered again: %s", delivery.event_id, error)

    def _sweep(self) -> None:
        if time.monotonic() - self._swept_s >= SWEEP_S:
            self._outbox.sweep()
            self._swept_s = time.monotonic()


def wait_ms(delivery: Delivery) -> int:
    """How long until a delivery that failed is tried again."""
    longest_s = LONGEST_URGENT_S if delivery.tenant == SYSTEM else LONGEST_WAIT_S
    return min(longest_s, FIRST_WAIT_S << min(delivery.attempts - 1, 16)) * 1000


def _settle(ended: asyncio.Future[Exception | None], fault: Exception | None) -> None:
    if not ended.done():
        ended.set_result(fault)


def _stop(thread: Thread, task: Future[asyncio.Task[None]]) -> None:
    """Blocking, for `2 * STOP_S` at most."""
    with contextlib.suppress(TimeoutError, RuntimeError):  # its loop never was, or is closed: it ended by itself
        running = task.result(STOP_S if thread.is_alive() else 0)
        running.get_loop().call_soon_threadsafe(running.cancel)
    thread.join(STOP_S)
