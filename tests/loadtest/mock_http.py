"""How the mock's tests talk to it: plain HTTP, no gateway."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from loadtest.testing import MockEngine, run_mock_engine
from tests.support.waiting import DEADLINE_S

IDS = [11, 22, 33, 44]


@asynccontextmanager
async def mock(**options: Any) -> AsyncIterator[tuple[MockEngine, httpx.AsyncClient]]:
    """A running engine with these options, and a client of it."""
    async with (
        run_mock_engine(**{"death_s": 0.1, **options}) as engine,
        httpx.AsyncClient(base_url=engine.url, timeout=DEADLINE_S, verify=False) as http,
    ):
        yield engine, http


async def load(http: httpx.AsyncClient, name: str, path: Path) -> None:
    body = {"lora_name": name, "lora_path": str(path)}
    answer = await http.post("/v1/load_lora_adapter", json=body)
    assert answer.status_code == 200, answer.text


async def unload(http: httpx.AsyncClient, name: str) -> None:
    assert (await http.post("/v1/unload_lora_adapter", json={"lora_name": name})).status_code == 200


async def complete(http: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await http.post("/v1/completions", json={"model": "base", "prompt": "Hello there", **body})


async def text(http: httpx.AsyncClient, model: str, **body: Any) -> str:
    answer: str = (await complete(http, model=model, **body)).json()["choices"][0]["text"]
    return answer


async def stream_of(http: httpx.AsyncClient, into: list[str] | None = None, **body: Any) -> list[str]:
    """The events' data; `into` has those that came when the stream breaks."""
    seen = [] if into is None else into
    whole = {"model": "base", "prompt": "Hello there", "stream": True, **body}
    async with http.stream("POST", "/v1/completions", json=whole) as answer:
        async for line in answer.aiter_lines():
            if line:
                seen.append(line.removeprefix("data: "))
    return seen


@asynccontextmanager
async def in_batch(engine: MockEngine, http: httpx.AsyncClient, model: str) -> AsyncIterator[None]:
    """In the block a stream is in the batch, which is the only one at its beginning, and others take no time."""
    await engine.faults(token_ms=1_000 * DEADLINE_S)
    stays = asyncio.create_task(stream_of(http, model=model))
    try:
        await running(engine, 1)
        await engine.faults(token_ms=0)
        yield
    finally:
        stays.cancel()
        await asyncio.gather(stays, return_exceptions=True)


async def running(engine: MockEngine, requests: int) -> None:
    """Return when so many requests run. They must not end by themselves: a test may be held up for seconds."""
    await _told(engine, "running", requests)


async def loading(engine: MockEngine, adapters: int) -> None:
    """Return when so many adapters are being loaded, with the same reserve."""
    await _told(engine, "loading", adapters)


async def _told(engine: MockEngine, what: str, count: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (await engine.state())[what] != count:
            await asyncio.sleep(0.005)


async def logprob(http: httpx.AsyncClient, position: int, model: str = "base") -> float:
    """How likely the token at `position` of IDS is after those before it."""
    only = {"allowed_token_ids": [IDS[position]], "max_tokens": 1, "logprobs": 0}
    answer = await complete(http, model=model, prompt=IDS[:position], **only)
    value: float = answer.json()["choices"][0]["logprobs"]["token_logprobs"][0]
    return value


async def steps(http: httpx.AsyncClient) -> int:
    """`vllm:iteration_tokens_total_count`."""
    found = re.search(r"^vllm:iteration_tokens_total_count\{.*\} (\d+)$", (await http.get("/metrics")).text, re.M)
    assert found is not None
    return int(found[1])
