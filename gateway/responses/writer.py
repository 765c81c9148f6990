"""Stores answers in groups: whoever comes while one transaction is under way, or soon after it, is in the next one,
and who comes when none was for a while is stored at once.

A group costs one transaction, in one thread, which is most of what an answer alone would cost. A database that lets
nobody write costs those who have something to store their answer, after a while, and nobody else anything.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as DatabaseTimeout

from gateway.complaints import Complaint
from gateway.errors import NotStored
from registry.errors import RegistryError
from registry.responses.turns import SealedTurn

T = TypeVar("T")
log = logging.getLogger("switchyard.responses")
UNSTORED, UNLEFT = Complaint(log), Complaint(log)
PASSING = (OperationalError, InterfaceError, DatabaseTimeout)
"""What a database says that is locked, full, or away for a while."""
MOST_IN_A_GROUP = 128
MOST_WAITING = 4_096
MOST_WAITING_BYTES = 256 * 1024 * 1024
GROUP_S = 0.02
"""From the end of one transaction to the next, at least. A transaction for each answer would cost as much as a chat; an
engine takes hundreds of milliseconds for one.
"""
AGAIN_S = 5.0
"""Until what nobody waits for is tried again."""
PATIENCE_S = 10.0
"""How long a request waits for its answer to be stored."""
RETRY_AFTER_S = 5
REST_S = 1.0
"""How long nobody tries after the database has not stored something."""
Order = SealedTurn | Callable[[], Any]


@dataclass(slots=True, eq=False)
class _Waiting:
    order: Order
    bytes: int
    stored: asyncio.Future[Any]
    until_s: float
    """When whoever waits for it gives up, on the loop's clock."""


class _Ended(NamedTuple):
    waiting: _Waiting
    result: Any
    fault: Exception | None


class Writer:
    """Of one process. Made on the event loop that uses it."""

    def __init__(
        self,
        save: Callable[[Sequence[SealedTurn]], None],
        *,
        patience_s: float = PATIENCE_S,
        again_s: float = AGAIN_S,
        group_s: float = GROUP_S,
    ) -> None:
        """`save` stores several turns in one transaction, all or none, and blocks meanwhile."""
        self._save = save
        self._patience_s = patience_s
        self._again_s = again_s
        self._group_s = group_s
        self._gathered: deque[_Waiting] = deque()
        """For the next group."""
        self._sends = False
        """Whether a group is in the thread, or goes there without more ado."""
        self._next_s = 0.0
        """When the next group may go there, on the loop's clock."""
        self._queue: SimpleQueue[Sequence[_Waiting] | None] = SimpleQueue()
        self._patient: deque[_Waiting] = deque()
        """Those that somebody waits for, oldest first."""
        self._patience: asyncio.TimerHandle | None = None
        """One for all: a timer of each answer's own would cost a third of what is done here about it."""
        self._waiting = 0
        self._waiting_bytes = 0
        self._writes_since_s: float | None = None
        """`time.monotonic()` when the thread began what it does now."""
        self._rests_until_s = 0.0
        """`time.monotonic()` until which the database is taken for one that lets nobody write."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="responses", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Return if what is stored now has a chance. Raises `NotStored`: no engine works for what cannot be kept."""
        now_s, since_s = time.monotonic(), self._writes_since_s
        if now_s < self._rests_until_s or (since_s is not None and now_s - since_s > self._patience_s):
            raise _not_stored()

    async def store(self, turn: SealedTurn) -> None:
        """Return when the turn is committed. Raises `NotStored`."""
        await self._done(turn, turn.bytes)

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` in the database returns, in its turn among what is stored. Raises `NotStored`, or its error."""
        return cast("T", await self._done(work, 0))

    def leave(self, work: Callable[[], Any]) -> None:
        """Do some work in its turn, for nobody who would wait for it: again and again while the database cannot be
        written to. What it raises is said in the log.
        """
        self._put(work, 0).stored.add_done_callback(partial(self._left, work))

    async def close(self) -> None:
        """Finish what waits, for as long as requests would wait for it."""
        while self._gathered:
            self._send()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._patience_s)

    async def _done(self, order: Order, size: int) -> Any:
        if self._waiting >= MOST_WAITING or self._waiting_bytes + size > MOST_WAITING_BYTES:
            raise _not_stored()
        waiting = self._put(order, size)
        self._patient.append(waiting)
        if self._patience is None:
            self._patience = self._loop.call_at(waiting.until_s, self._give_up)
        try:
            return await waiting.stored
        except SQLAlchemyError as error:
            UNSTORED.report("answers cannot be stored", error)
            raise _not_stored() from error

    def _give_up(self) -> None:
        """Nobody waits any longer for what should be stored by now."""
        now_s = self._loop.time()
        while self._patient and ((oldest := self._patient[0]).until_s <= now_s or oldest.stored.done()):
            self._patient.popleft()
            if not oldest.stored.done():
                self._rest()
                oldest.stored.set_exception(_not_stored())
        self._patience = self._loop.call_at(self._patient[0].until_s, self._give_up) if self._patient else None

    def _rest(self) -> None:
        self._rests_until_s = time.monotonic() + REST_S

    def _left(self, work: Callable[[], Any], stored: asyncio.Future[Any]) -> None:
        if stored.cancelled() or (error := stored.exception()) is None:
            return
        UNLEFT.report("the state of a response cannot be written down", cast("Exception", error))
        if isinstance(error, PASSING):
            self._loop.call_later(self._again_s, self.leave, work)

    def _put(self, order: Order, size: int) -> _Waiting:
        loop = self._loop
        now_s = loop.time()
        waiting = _Waiting(order, size, loop.create_future(), now_s + self._patience_s)
        self._waiting += 1
        self._waiting_bytes += size
        self._gathered.append(waiting)
        if not self._sends:
            self._sends = True
            if now_s < self._next_s:
                loop.call_at(self._next_s, self._send)
            else:
                loop.call_soon(self._send)  # with what comes in the same turn of the loop
        return waiting

    def _send(self) -> None:
        gathered = self._gathered
        self._queue.put([gathered.popleft() for _ in range(min(len(gathered), MOST_IN_A_GROUP))])

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
        while self._patient and self._patient[0].stored.done():
            self._patient.popleft()
        self._next_s = self._loop.time() + self._group_s
        self._sends = bool(self._gathered)
        if self._sends:
            self._loop.call_at(self._next_s, self._send)

    # The thread

    def _run(self) -> None:
        while (group := self._queue.get()) is not None:
            self._writes_since_s = time.monotonic()
            wanted = [one for one in group if not one.stored.done()]
            ended = self._written(wanted)
            self._writes_since_s = None
            given_up = [_Ended(one, None, None) for one in {*group}.difference(wanted)]
            try:
                self._loop.call_soon_threadsafe(self._tell, [*ended, *given_up])
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _written(self, group: list[_Waiting]) -> list[_Ended]:
        """What became of each. A turn that the database refuses takes no other with it."""
        works = [one for one in group if not isinstance(one.order, SealedTurn)]
        turns = [one for one in group if isinstance(one.order, SealedTurn)]
        ended = [_fate(one, cast("Callable[[], Any]", one.order)) for one in works]
        if not turns:
            return ended
        try:
            self._save([cast("SealedTurn", one.order) for one in turns])
        except (IntegrityError, RegistryError):
            return ended + [_fate(one, partial(self._save, [cast("SealedTurn", one.order)])) for one in turns]
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
