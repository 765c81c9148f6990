"""The process: one event loop, no access log (addresses of login links would be in it)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.applications import Starlette

from dashboard.app import make_app
from dashboard.log_lines import Seldom
from dashboard.settings import DashboardSettings

GRACE_S = 3
"""For answers under way at the end."""


class Server(uvicorn.Server):
    """One that says when it listens."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if not self.should_exit:
            await self._on_listening()


def serve(settings: DashboardSettings, on_listening: Callable[[Starlette], Awaitable[None]]) -> bool:
    """Serve until a signal; whether it could listen."""
    app = make_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.dashboard_host,
        port=settings.dashboard_port,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    logging.getLogger("uvicorn.error").addFilter(Seldom())  # after the configuration of logs, which uvicorn makes
    server = Server(config, lambda: on_listening(app))
    asyncio.run(server.serve())
    return server.started
