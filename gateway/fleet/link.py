"""A worker's link to whoever leads the fleet: found by the lease, made anew when it breaks, with questions on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.fleet.channel import Channel, LinkBroken, link_key, of_worker
from gateway.fleet.wire import (
    SILENCE_S,
    Address,
    FromController,
    FromWorker,
    Inspected,
    Lent,
    encode,
    read_from_controller,
)
from registry.fleet.leadership import Leadership, Lease

log = logging.getLogger("switchyard.worker")
REPORT_INTERVAL_S = 0.25
RECONNECT_S = 0.1
LOOK_UP_EVERY_S = 2.0
"""Who is linked looks so often whether the lease is still that of the other end."""


class ControllerLink:
    """`greet` is called when a link is there, `report` four times a second while it is, `take` for what comes, and
    `lost` when it has broken.
    """

    def __init__(
        self,
        leadership: Leadership,
        secret: str,
        greet: Callable[[], None],
        report: Callable[[], None],
        take: Callable[[FromController], None],
        lost: Callable[[], None],
    ) -> None:
        """`secret` is the fleet's."""
        self.ids = count(1)
        """Numbers of whatever wants an answer."""
        self._leadership = leadership
        self._secret = secret
        self._greet = greet
        self._report = report
        self._take = take
        self._lost = lost
        self._channel: Channel | None = None
        self._lease: Lease | None = None
        """Of the controller that was known last."""
        self._look_up: asyncio.Task[Lease | None] | None = None
        self._questions: dict[int, asyncio.Future[Any]] = {}

    @property
    def linked(self) -> bool:
        """Whether a controller is there."""
        return self._channel is not None

    def send(self, message: FromWorker) -> None:
        """Say something to the controller, if there is one."""
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(encode(message))

    async def ask(self, question: Callable[[int], FromWorker], timeout_s: float) -> Any:
        """The controller's answer to a question with that number. Raises `LinkBroken`, also when none comes in time."""
        if self._channel is None:
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
            if (lease := self._lease) is not None:
                try:
                    await self._stay_linked(lease)
                except (OSError, LinkBroken) as error:
                    log.debug("no link to a controller at %s: %s", lease.address, error)
                except Exception:  # whatever it is, the requests need a link
                    log.exception("the link to the controller at %s broke", lease.address)
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
            self._lease = lease or self._lease
        except SQLAlchemyError as error:
            log.warning("the controller's address stays as it was: %s", error)

    async def _stay_linked(self, lease: Lease) -> None:
        reader, writer = await Address.parse(lease.address).connect()
        background: list[asyncio.Task[None]] = []
        try:
            channel = await of_worker(reader, writer, link_key(self._secret, lease.key))
            self._channel = channel
            self._greet()
            background += (
                asyncio.create_task(self._keep_reporting()),
                asyncio.create_task(self._leave_when_succeeded(lease, channel)),
            )
            while True:
                self._receive(await read_from_controller(channel))
        finally:
            self._channel = None
            self._lost()
            for task in background:
                task.cancel()
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

    async def _leave_when_succeeded(self, lease: Lease, channel: Channel) -> None:
        """Who has lost the lease leads nobody, whatever it still says."""
        while True:
            await asyncio.sleep(LOOK_UP_EVERY_S)
            await self._look_up_controller()
            if self._lease is not None and self._lease.token != lease.token:
                log.warning("the controller at %s was succeeded by the one at %s", lease.address, self._lease.address)
                channel.abort()
                return
