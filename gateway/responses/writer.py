"""Stores answers in groups: whoever comes while one transaction is under way, or soon after it, is in the next one,
and who comes when none was for a while, or when all requests that run here wait for it, is stored at once.

A group costs one transaction, in one thread, which is most of what an answer alone would cost. What somebody
waits for is done first, and told before the rest of the group is done. A database that lets nobody write costs those
who have something to store their answer, after a while, and nobody else anything.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar, cast, overload

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
REFUSED = (IntegrityError, RegistryError)
"""Of one of several: the others may do."""
MOST_IN_A_GROUP = 128
MOST_WAITING = 4_096
MOST_WAITING_BYTES = 256 * 1024 * 1024
GROUP_S = 0.02
"""From the end of one transaction to the next, as long as somebody may come who could be in it. A transaction for each
answer would cost as much as a chat; an engine takes hundreds of milliseconds for one.
"""
AGAIN_S = 5.0
"""Until what nobody waits for is tried again."""
PATIENCE_S = 10.0
"""How long a request waits for its answer to be stored."""
RETRY_AFTER_S = 5
REST_S = 1.0
"""How long nobody tries after the database has not stored something."""


class Shared(NamedTuple):
    """An order that one transaction carries out together with all others of a group that are of the same kind."""

    carry_out: Callable[[Sequence[Any]], None]
    """All of them or none; of one kind are those that have the same."""
    what: Any


Order = SealedTurn | Shared | Callable[[], Any]


Fate = tuple[Any, Exception | None]
"""What an order came to, and why it came to nothing."""
STORED: Fate = (None, None)


_Waiting = tuple[Order, "asyncio.Future[Any]", float | None]
"""An order, who waits for it, and until when on the loop's clock; `None`: nobody does."""


class Writer:
    """Of one process. Made on the event loop that uses it."""

    def __init__(
        self,
        save: Callable[[Sequence[SealedTurn]], None],
        running: Callable[[], int],
        *,
        patience_s: float = PATIENCE_S,
        again_s: float = AGAIN_S,
        group_s: float = GROUP_S,
    ) -> None:
        """`save` stores several turns in one transaction, all or none, and blocks meanwhile; `running` says how many
        requests are in flight, with those that wait here.
        """
        self._save = save
        self._running = running
        self._patience_s = patience_s
        self._again_s = again_s
        self._group_s = group_s
        self._gathered: deque[_Waiting] = deque()
        """For the next group."""
        self._sends = False
        """Whether a group is in the thread, or goes there without more ado."""
        self._next_s = 0.0
        """When the next group may go there, on the loop's clock."""
        self._pause: asyncio.TimerHandle | None = None
        """Until then."""
        self._queue: SimpleQueue[Sequence[_Waiting] | None] = SimpleQueue()
        self._sent: Sequence[_Waiting] = ()
        """The group that is in the thread, or the last one that was."""
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

    @overload
    def do(self, order: SealedTurn | Shared, *, waits: bool = True) -> asyncio.Future[None]: ...
    @overload
    def do(self, order: Callable[[], T], *, waits: bool = True) -> asyncio.Future[T]: ...
    def do(self, order: Order, *, waits: bool = True) -> asyncio.Future[Any]:
        """Done when the turn, or what is shared, is committed; of other work in the database what it returns, in its
        turn among what is stored. Raises `NotStored`, as the future does, or the work's error; unless somebody
        `waits`, only that.

        A future and no coroutine, and all in one function: a request pays for each that it goes through.
        """
        loop = self._loop
        length = order.bytes if type(order) is SealedTurn else 0
        now_s, until_s = loop.time(), None
        if waits:
            if self._waiting >= MOST_WAITING or self._waiting_bytes + length > MOST_WAITING_BYTES:
                raise _not_stored()
            until_s = now_s + self._patience_s
            if self._patience is None:
                self._patience = loop.call_at(until_s, self._give_up)
        stored = loop.create_future()
        self._gathered.append((order, stored, until_s))
        self._waiting += 1
        self._waiting_bytes += length
        if not self._sends:
            self._sends = True
            if now_s < self._next_s:
                self._pause = loop.call_at(self._next_s, self._send)
            else:
                loop.call_soon(self._send)  # with what comes in the same turn of the loop
        if self._pause is not None and len(self._gathered) >= self._running():  # nobody is left who could come
            self._pause.cancel()
            self._pause = None
            loop.call_soon(self._send)
        return stored

    def leave(self, work: Callable[[], Any]) -> None:
        """Do some work in its turn, for nobody who would wait for it: again and again while the database cannot be
        written to. What it raises is said in the log.
        """
        self.do(work, waits=False).add_done_callback(partial(self._left, work))

    async def close(self) -> None:
        """Finish what waits, for as long as requests would wait for it."""
        while self._gathered:
            self._send()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._patience_s)

    def _give_up(self) -> None:
        """Nobody waits any longer for what should be stored by now."""
        now_s = self._loop.time()
        next_s: list[float] = []
        for _, stored, until_s in (*self._sent, *self._gathered):
            if until_s is None or stored.done():
                continue
            if until_s <= now_s:
                self._rest()
                stored.set_exception(_not_stored())
            else:
                next_s.append(until_s)
        self._patience = self._loop.call_at(min(next_s), self._give_up) if next_s else None

    def _rest(self) -> None:
        self._rests_until_s = time.monotonic() + REST_S

    def _left(self, work: Callable[[], Any], stored: asyncio.Future[Any]) -> None:
        if stored.cancelled() or (error := stored.exception()) is None:
            return
        UNLEFT.report("the state of a response cannot be written down", cast("Exception", error))
        if isinstance(error, PASSING):
            self._loop.call_later(self._again_s, self.leave, work)

    def _send(self) -> None:
        self._pause = None
        gathered = self._gathered
        self._sent = group = [gathered.popleft() for _ in range(min(len(gathered), MOST_IN_A_GROUP))]
        self._queue.put(group)

    def _tell(self, group: Sequence[_Waiting], fates: Sequence[Fate], is_last: bool) -> None:
        self._waiting -= len(group)
        for (order, stored, until_s), (result, fault) in zip(group, fates, strict=True):
            if type(order) is SealedTurn:
                self._waiting_bytes -= order.bytes
            if stored.done():
                continue
            if fault is None:
                stored.set_result(result)
            else:
                stored.set_exception(_said(fault) if until_s is not None else fault)
        if not is_last:
            return
        self._next_s = self._loop.time() + self._group_s
        self._sends = bool(self._gathered)
        if self._sends:
            self._pause = self._loop.call_at(self._next_s, self._send)

    # The thread

    def _run(self) -> None:
        while (group := self._queue.get()) is not None:
            self._writes_since_s = time.monotonic()
            waited = [one for one in group if one[2] is not None]
            left = [one for one in group if one[2] is None]
            for part, is_last in ((waited, not left), (left, True)):  # nobody waits for what nobody waits for
                if not part:
                    continue
                fates = self._written(part)
                if is_last:
                    self._writes_since_s = None
                try:
                    self._loop.call_soon_threadsafe(self._tell, part, fates, is_last)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return

    def _written(self, group: Sequence[_Waiting]) -> list[Fate]:
        """What became of each. A turn that the database refuses takes no other with it."""
        fates = [STORED] * len(group)
        turns: list[tuple[int, SealedTurn]] = []
        shared: dict[Callable[[Sequence[Any]], None], list[tuple[int, Any]]] = {}
        for number, (order, stored, _) in enumerate(group):
            if stored.done():  # nobody waits for it any more
                continue
            if type(order) is SealedTurn:
                turns.append((number, order))
            elif type(order) is Shared:
                shared.setdefault(order.carry_out, []).append((number, order.what))
            else:
                fates[number] = _fate(cast("Callable[[], Any]", order))
        if turns:
            fault = _together(self._save, turns, fates)
            if fault is None:
                self._rests_until_s = 0.0
            elif not isinstance(fault, REFUSED):
                self._rest()
        for carry_out, orders in shared.items():
            _together(carry_out, orders, fates)
        return fates


def _together(
    carry_out: Callable[[Sequence[Any]], None], orders: Sequence[tuple[int, Any]], fates: list[Fate]
) -> Exception | None:
    """Carry these out in one transaction, or where one of them is refused each alone, and set their fates; why not
    together.
    """
    try:
        carry_out([order for _, order in orders])
    except REFUSED as error:
        for number, order in orders:
            fates[number] = _fate(partial(carry_out, [order])) if len(orders) > 1 else (None, error)
        return error
    except Exception as error:
        for number, _ in orders:
            fates[number] = None, error
        return error
    return None


def _fate(work: Callable[[], Any]) -> Fate:
    try:
        return work(), None
    except Exception as error:
        return None, error


def _said(fault: Exception) -> Exception:
    """What somebody who waits is told."""
    if not isinstance(fault, SQLAlchemyError):
        return fault
    UNSTORED.report("answers cannot be stored", fault)
    said = _not_stored()
    said.__cause__ = fault
    return said


def _not_stored() -> NotStored:
    return NotStored(
        "The answer cannot be stored now, so it is not given either. Try again later, or send 'store': false.",
        code="store_unavailable",
        retry_after_s=RETRY_AFTER_S,
    )
