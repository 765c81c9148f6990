"""How a gateway is served: what is the process's, not the path's."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.server import Server, server_config
from loadtest.testing import free_port
from tests.gateway.stack import wait_until


async def no_content(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for answer in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            await receive()
            await send({"type": answer})
    else:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.fixture
def url() -> Iterator[str]:
    port = free_port()
    server = Server(server_config(no_content, "127.0.0.1", port, grace_s=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until("the server to start", lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    gc.unfreeze()


def test_a_round_of_the_garbage_collector_does_not_visit_what_was_there_when_the_server_had_started(url: str) -> None:
    assert httpx.get(url).status_code == 204  # served after all that a start has to do
    assert gc.get_freeze_count() > 10 * len(gc.get_objects())
