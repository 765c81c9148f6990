"""uvicorn around the app: the quickest protocol, and access to the socket for the faults."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loadtest.mock_engine.app import MockApp
from loadtest.mock_engine.engine import Engine
from loadtest.mock_engine.options import Options


class MockProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose scope carries the transport, so that the app can break a connection."""

    def on_message_begin(self) -> None:
        """Add the transport to the scope of the request that begins."""
        super().on_message_begin()
        scope: Any = self.scope
        scope["mock.transport"] = self.transport


def config(options: Options, engine: Engine) -> uvicorn.Config:
    """uvicorn's settings. Broken connections are what the mock is for, so it logs nothing."""
    return uvicorn.Config(
        MockApp(engine),
        host=options.host,
        port=options.port,
        http=MockProtocol,
        ws="none",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="critical",
        log_config=None,
        server_header=False,
        date_header=False,
        backlog=4_096,
        timeout_keep_alive=60,
    )


def drop_everything(server: uvicorn.Server) -> None:
    """Close the port and reset every connection at once, as the end of a process does."""
    for listening in server.servers:
        listening.close()
    for connection in list(server.server_state.connections):
        transport: asyncio.Transport | None = getattr(connection, "transport", None)
        if transport is not None:
            transport.abort()
    server.force_exit = True
    server.should_exit = True
