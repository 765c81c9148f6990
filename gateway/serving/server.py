"""How a gateway is served: uvicorn, with a start and an end of our own."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from gateway.serving.crowd import Crowd
from gateway.serving.protocol import BoundedProtocol

BACKLOG = 2_048
ACCEPTED_IN_A_TURN = 8
"""libuv accepts one connection of a listening socket in a turn of the event loop, and a turn serves requests too: who
comes behind hundreds of connections would wait until each of those has been served. So each socket is listened on by
so many handles.
"""
ROUNDS = 10_000, 20, 20
"""Objects that are new before the garbage collector looks through them, and how many such rounds there are before one
that looks at older ones too. Requests leave next to no cycles behind: with Python's own 700 it found nothing, again and
again, in 15 to 25 µs of each request, all of whose objects it had visited.
"""

M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES = -3, 1 << 18
"""Blocks from this size on go back to the system when they are freed. glibc's own bound follows the largest block that
was freed, up to 32 MiB: what a storm of long bodies took would never come back.
"""


class Server(uvicorn.Server):
    """A server whose event loop the garbage collector does not hold up, and that takes leave of load balancers.

    SIGTERM: `on_leaving` is called, connections are accepted and served for `delay_s` more, and then running answers
    have their grace. Ctrl-C is a person's, who waits: there is no delay. A second signal ends everything at once.
    """

    def __init__(
        self, config: uvicorn.Config, *, delay_s: float = 0.0, on_leaving: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(config)
        self._delay_s = delay_s
        self._on_leaving = on_leaving
        self._leaves_at_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to stop came."""
        self._captured_signals.append(sig)
        if self._leaves_at_s is not None:
            self.should_exit = self.force_exit = True
            return
        self._leaves_at_s = time.monotonic() + (self._delay_s if sig == signal.SIGTERM else 0)
        self._on_leaving()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to stop."""
        if self._leaves_at_s is not None and time.monotonic() >= self._leaves_at_s:
            self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open everything and listen; then spare what lives by now."""
        await super().startup(sockets)
        for server in self.servers[:]:
            for listening in server.sockets:
                await self._listen_on_copies(listening.fileno())
        spare_what_lives()

    async def _listen_on_copies(self, fd: int) -> None:
        config, loop = self.config, asyncio.get_running_loop()
        protocol: Any = config.http_protocol_class
        made = partial(protocol, config=config, server_state=self.server_state, app_state=self.lifespan.state)
        for _ in range(ACCEPTED_IN_A_TURN - 1):
            copy = socket.socket(fileno=os.dup(fd))
            self.servers.append(await loop.create_server(made, sock=copy, backlog=config.backlog))


def spare_what_lives() -> None:
    """Take every object that there is now out of the garbage collector's rounds, for the life of this process, and let
    there be fewer of them.

    A full round visits the whole catalog and every module: 0.2 s at 10,000 adapters, in the middle of all requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*ROUNDS)
    with suppress(OSError, AttributeError):  # another C library than glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        libc.malloc_trim(0)  # what importing took and freed


def server_config(
    gateway: Any,
    host: str,
    port: int,
    *,
    grace_s: int,
    keep_alive_s: int = 75,
    crowd: Crowd | None = None,
    backlog: int = BACKLOG,
) -> uvicorn.Config:
    """uvicorn's settings of a gateway; `grace_s` is how long running answers may go on after SIGTERM, `keep_alive_s`
    how long a connection may idle. Its connections are of the `crowd`, and `backlog` of them wait to be accepted.
    """
    protocol: Any = BoundedProtocol if crowd is None else type("CrowdProtocol", (BoundedProtocol,), {"crowd": crowd})
    return uvicorn.Config(
        gateway,
        host=host,
        port=port,
        loop="uvloop",
        http=protocol,
        backlog=backlog,
        ws="none",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=grace_s,
        timeout_keep_alive=keep_alive_s,
    )
