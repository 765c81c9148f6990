"""Stores answers in groups: whoever comes while one transaction is under way, or soon after it, is in the next one.

A group costs one transaction, in one thread, which is most of what an answer alone would cost. A database that lets
nobody write costs those who have something to store their answer, after a while, and nobody else anything.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as DatabaseTimeout

from gateway.complaints import Complaint
from gateway.errors import NotStored
from registry.errors import RegistryError
from registry.responses.turns import Turn

T = TypeVar("T")
log = logging.getLogger("switchyard.responses")
UNSTORED, UNLEFT = Complaint(log), Complaint(log)
PASSING = (OperationalError, InterfaceError, DatabaseTimeout)
"""What a database says that is locked, full, or away for a while."""
MOST_IN_A_GROUP = 128
MOST_WAITING = 4_096
MOST_WAITING_BYTES = 256 * 1024 * 1024
GROUP_S = 0.05
"""From the end of one transaction to the next, at least: an answer that comes alone is stored at once."""
AGAIN_S = 5.0
"""Until what nobody waits for is tried again."""
PATIENCE_S = 10.0
"""How long a request waits for its answer to be stored."""
RETRY_AFTER_S = 5
REST_S = 1.0
"""How long nobody tries after the database has not stored something."""
Order = Turn | Callable[[], Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    order: Order
    bytes: int
    stored: asyncio.Future[Any]


class _Ended(NamedTuple):
    waiting: _Waiting
    result: Any
    fault: Exception | None


class Writer:
    """Of one process. Made on the event loop that uses it."""

    def __init__(
        self, save: Callable[[Sequence[Turn]], None], *, patience_s: float = PATIENCE_S, again_s: float = AGAIN_S
    ) -> None:
        """`save` stores several turns in one transaction, all or none, and blocks meanwhile."""
        self._save = save
        self._patience_s = patience_s
        self._again_s = again_s
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._waiting = 0
        self._waiting_bytes = 0
        self._writes_since_s: float | None = None
        """`time.monotonic()` when the thread began what it does now."""
        self._rests_until_s = 0.0
        """`time.monotonic()` until which the database is taken for one that lets nobody write."""
        self._wrote_s = 0.0
        """Likewise, when it had last ended something."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="responses", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Return if what is stored now has a chance. Raises `NotStored`: no engine works for what cannot be kept."""
        now_s, since_s = time.monotonic(), self._writes_since_s
        if now_s < self._rests_until_s or (since_s is not None and now_s - since_s > self._patience_s):
            raise _not_stored()

    async def store(self, turn: Turn) -> None:
        """Return when the turn is committed. Raises `NotStored`."""
        await self._done(turn, len(turn.document) + turn.items_bytes)

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` in the database returns, in its turn among what is stored. Raises `NotStored`, or its error."""
        return cast("T", await self._done(work, 0))

    def leave(self, work: Callable[[], Any]) -> None:
        """Do some work in its turn, for nobody who would wait for it: again and again while the database cannot be
        written to. What it raises is said in the log.
        """
        self._put(work, 0).add_done_callback(partial(self._left, work))

    async def close(self) -> None:
        """Finish what waits, for as long as requests would wait for it."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._patience_s)

    async def _done(self, order: Order, size: int) -> Any:
        if self._waiting >= MOST_WAITING or self._waiting_bytes + size > MOST_WAITING_BYTES:
            raise _not_stored()
        stored = self._put(order, size)
        patience = self._loop.call_later(self._patience_s, self._give_up, stored)  # a third of what a timeout costs
        try:
            return await stored
        except SQLAlchemyError as error:
            UNSTORED.report("answers cannot be stored", error)
            raise _not_stored() from error
        finally:
            patience.cancel()

    def _give_up(self, stored: asyncio.Future[Any]) -> None:
        if not stored.done():
            self._rest()
            stored.set_exception(_not_stored())

    def _rest(self) -> None:
        self._rests_until_s = time.monotonic() + REST_S

    def _left(self, work: Callable[[], Any], stored: asyncio.Future[Any]) -> None:
        if stored.cancelled() or (error := stored.exception()) is None:
            return
        UNLEFT.report("the state of a response cannot be written down", cast("Exception", error))
        if isinstance(error, PASSING):
            self._loop.call_later(self._again_s, self.leave, work)

    def _put(self, order: Order, size: int) -> asyncio.Future[Any]:
        stored: asyncio.Future[Any] = self._loop.create_future()
        self._waiting += 1
        self._waiting_bytes += size
        self._queue.put(_Waiting(order, size, stored))
        return stored

    def _tell(self, ended: list[_Ended]) -> None:
        for one, result, fault in ended:
            self._waiting -= 1
            self._waiting_bytes -= one.bytes
            if one.stored.done():
                continue
            if fault is None:
                one.stored.set_result(result)
            else:
                one.stored.set_exception(fault)

    # The thread

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            group, goes_on = self._next_group()
            self._writes_since_s = time.monotonic()
            wanted = [one for one in group if not one.stored.done()]
            ended = self._written(wanted)
            self._writes_since_s, self._wrote_s = None, time.monotonic()
            given_up = [_Ended(one, None, None) for one in {*group}.difference(wanted)]
            try:
                self._loop.call_soon_threadsafe(self._tell, [*ended, *given_up])
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _next_group(self) -> tuple[list[_Waiting], bool]:
        """What waits, once there is something; and whether more may come."""
        group: list[_Waiting] = []
        try:
            one = self._queue.get()
            if (early_s := self._wrote_s + GROUP_S - time.monotonic()) > 0:
                time.sleep(early_s)
            while one is not None:
                group.append(one)
                if len(group) >= MOST_IN_A_GROUP:
                    return group, True
                one = self._queue.get_nowait()
        except Empty:
            return group, True
        return group, False

    def _written(self, group: list[_Waiting]) -> list[_Ended]:
        """What became of each. A turn that the database refuses takes no other with it."""
        works = [one for one in group if not isinstance(one.order, Turn)]
        turns = [one for one in group if isinstance(one.order, Turn)]
        ended = [_fate(one, cast("Callable[[], Any]", one.order)) for one in works]
        if not turns:
            return ended
        try:
            self._save([cast("Turn", one.order) for one in turns])
        except (IntegrityError, RegistryError):
            return ended + [_fate(one, partial(self._save, [cast("Turn", one.order)])) for one in turns]
        except Exception as error:
            self._rest()
            return ended + [_Ended(one, None, error) for one in turns]
        self._rests_until_s = 0.0
        return ended + [_Ended(one, None, None) for one in turns]


def _fate(one: _Waiting, work: Callable[[], Any]) -> _Ended:
    try:
        return _Ended(one, work(), None)
    except Exception as error:
        return _Ended(one, None, error)


def _not_stored() -> NotStored:
    return NotStored(
        "The answer cannot be stored now, so it is not given either. Try again later, or send 'store': false.",
        code="store_unavailable",
        retry_after_s=RETRY_AFTER_S,
    )
