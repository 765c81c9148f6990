"""The mock engine inside a test: real sockets, a thread of its own, a free port.

    async with run_mock_engine(max_loras=2) as engine:
        await engine.faults(token_ms=20)
        ... engine.url ...

`MockEngine` can also be stopped and started again on the same port, as a crashed engine that comes back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import uvicorn

from loadtest.mock_engine.engine import Engine
from loadtest.mock_engine.options import Options
from loadtest.mock_engine.server import config, drop_everything
from loadtest.ports import free_port

START_DEADLINE_S = 60.0
"""Machines that run tests are busy."""


class _Server(uvicorn.Server):
    """uvicorn that ends when it is dropped, and until then does not look a hundred times a second whether it is."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._dropped = asyncio.Event()

    async def main_loop(self) -> None:
        await self._dropped.wait()

    def drop(self) -> None:
        """From its event loop."""
        drop_everything(self)
        self._dropped.set()


class MockEngine:
    """One mock engine at a fixed port. Every start is a new boot: no adapters, fresh counters, a new start time."""

    def __init__(self, options: Options) -> None:
        self.options = replace(options, port=options.port or free_port())
        self.url = f"http://{self.options.host}:{self.options.port}"
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread that serves is alive."""
        return self._thread is not None and self._thread.is_alive()

    async def start(self) -> None:
        """Serve; returns when the port listens. Raises RuntimeError when it does not within a minute."""
        if self.running:
            raise RuntimeError(f"the engine at {self.url} runs already; stop it first")
        await asyncio.sleep(self.options.startup_s)
        engine = Engine(self.options, on_exit=self._exit)
        self._server = _Server(config(self.options, engine))
        self._thread = threading.Thread(target=self._server.run, name=f"mock-engine-{self.options.port}", daemon=True)
        self._thread.start()
        deadline = asyncio.get_running_loop().time() + START_DEADLINE_S
        while not self._server.started:
            if not self.running or asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"the mock engine did not start at {self.url}; is the port taken?")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Close the port and reset every connection; a no-op when it is not running."""
        if self._server is None or self._thread is None:
            return
        if self.running:
            self._exit()
        await asyncio.to_thread(self._thread.join, START_DEADLINE_S)
        self._server = self._thread = None

    async def wait_gone(self) -> None:
        """Return when the engine has ended by itself (a crash or a death). Raises TimeoutError after a minute."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, START_DEADLINE_S)
        if self.running:
            raise TimeoutError(f"the mock engine at {self.url} still runs after {START_DEADLINE_S:.0f} s")

    async def restart(self) -> None:
        """A new boot at the same address."""
        await self.stop()
        await self.start()

    async def faults(self, **patch: Any) -> None:
        """Change faults (see `loadtest.mock_engine.options.Faults`). Raises httpx.HTTPStatusError for wrong ones."""
        async with self._http() as client:
            (await client.post("/mock/faults", json=patch)).raise_for_status()

    async def crash(self) -> None:
        """End at once, without a word to anybody."""
        if self._server is not None:
            self._exit()
        await self.wait_gone()

    async def state(self) -> dict[str, Any]:
        """The counters of `GET /mock/state`."""
        async with self._http() as client:
            state: dict[str, Any] = (await client.get("/mock/state")).raise_for_status().json()
            return state

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, verify=False)  # noqa: S501  # plain HTTP; loading CAs takes 20 ms

    def _exit(self) -> None:
        assert self._server is not None
        loop = self._server.servers[0].get_loop()
        loop.call_soon_threadsafe(self._server.drop)


@asynccontextmanager
async def run_mock_engine(**options: Any) -> AsyncIterator[MockEngine]:
    """A running mock engine; the keywords are fields of `Options` (`served_model_name` is a tuple)."""
    engine = MockEngine(Options(**options))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
