"""A worker's link to whoever leads the fleet: found by the lease, made anew when it breaks, with questions on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.fleet.wire import (
    SILENCE_S,
    Address,
    FromController,
    FromWorker,
    Inspected,
    Lent,
    LinkBroken,
    encode,
    read_from_controller,
)
from registry.fleet.leadership import Leadership, Lease

log = logging.getLogger("switchyard.worker")
REPORT_INTERVAL_S = 0.25
RECONNECT_S = 0.1


class ControllerLink:
    """`greet` is called when a link is there, `report` four times a second while it is, `take` for what comes."""

    def __init__(
        self,
        leadership: Leadership,
        greet: Callable[[], None],
        report: Callable[[], None],
        take: Callable[[FromController], None],
    ) -> None:
        self.ids = count(1)
        """Numbers of whatever wants an answer."""
        self._leadership = leadership
        self._greet = greet
        self._report = report
        self._take = take
        self._writer: asyncio.StreamWriter | None = None
        self._address: str | None = None
        """Of the controller that was known last."""
        self._look_up: asyncio.Task[Lease | None] | None = None
        self._questions: dict[int, asyncio.Future[Any]] = {}

    @property
    def linked(self) -> bool:
        """Whether a controller is there."""
        return self._writer is not None

    def send(self, message: FromWorker) -> None:
        """Say something to the controller, if there is one."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    async def ask(self, question: Callable[[int], FromWorker], timeout_s: float) -> Any:
        """The controller's answer to a question with that number. Raises `LinkBroken`, also when none comes in time."""
        if self._writer is None:
            raise LinkBroken("there is no controller")
        number = next(self.ids)
        self._questions[number] = asyncio.get_running_loop().create_future()
        self.send(question(number))
        try:
            async with asyncio.timeout(timeout_s):
                return await self._questions[number]
        except TimeoutError:
            raise LinkBroken(f"the controller did not answer within {timeout_s:g} s") from None
        finally:
            del self._questions[number]

    async def run(self) -> None:
        """Stay linked to whoever leads; forever."""
        while True:
            await self._look_up_controller()
            if self._address is not None:
                try:
                    await self._stay_linked(Address.parse(self._address))
                except (OSError, LinkBroken) as error:
                    log.debug("no link to a controller at %s: %s", self._address, error)
                except Exception:  # whatever it is, the requests need a link
                    log.exception("the link to the controller at %s broke", self._address)
            await asyncio.sleep(RECONNECT_S)

    async def _look_up_controller(self) -> None:
        """Who leads now. A database that is away or hangs leaves the address as it was, and holds up one thread."""
        if self._look_up is None:
            self._look_up = asyncio.create_task(asyncio.to_thread(self._leadership.current))
        if not (await asyncio.wait((self._look_up,), timeout=SILENCE_S))[0]:
            log.warning("the controller's address stays as it was: the database does not answer")
            return
        look_up, self._look_up = self._look_up, None
        try:
            lease = look_up.result()
            self._address = lease.address if lease else self._address
        except SQLAlchemyError as error:
            log.warning("the controller's address stays as it was: %s", error)

    async def _stay_linked(self, address: Address) -> None:
        reader, writer = await address.connect()
        reporting: asyncio.Task[None] | None = None
        try:
            self._writer = writer
            self._greet()
            reporting = asyncio.create_task(self._keep_reporting())
            while True:
                self._receive(await read_from_controller(reader))
        finally:
            self._writer = None
            if reporting is not None:
                reporting.cancel()
            writer.close()
            for question in self._questions.values():
                if not question.done():
                    question.set_exception(LinkBroken("the controller went away"))

    def _receive(self, message: FromController) -> None:
        if isinstance(message, (Inspected, Lent)):
            if (asked := self._questions.get(message.id)) is not None and not asked.done():
                asked.set_result(message)
        else:
            self._take(message)

    async def _keep_reporting(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            self._report()
