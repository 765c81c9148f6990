"""The mock counts tokens as vLLM does: when they are made, for whoever it is, and whether or not anybody waits."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

from tests.loadtest.mock_http import complete, mock, running, stream_of
from tests.support.waiting import DEADLINE_S

PROMPT_TOKENS = 2


async def counted(http: httpx.AsyncClient) -> tuple[int, int]:
    """Prompt and generation tokens, as `/metrics` says."""
    text = (await http.get("/metrics")).text
    found = [re.search(rf"^vllm:{name}_tokens_total\{{.*\}} (\S+)$", text, re.M) for name in ("prompt", "generation")]
    assert all(found)
    return tuple(int(float(one[1])) for one in found if one)  # type: ignore[return-value]


async def test_a_prompt_is_counted_once_for_each_of_its_answers() -> None:
    async with mock() as (_, http):
        await complete(http, max_tokens=3)
        assert await counted(http) == (PROMPT_TOKENS, 3)
        usage = (await complete(http, max_tokens=3, n=2)).json()["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (PROMPT_TOKENS, 6), "billed once"
        assert await counted(http) == (3 * PROMPT_TOKENS, 9)
        await stream_of(http, max_tokens=4, n=2)
        assert await counted(http) == (5 * PROMPT_TOKENS, 17)


@pytest.mark.parametrize("stream", [True, False])
async def test_what_was_made_before_a_client_left_stays_counted(stream: bool) -> None:
    async with mock(token_ms=20.0) as (engine, http):
        request = asyncio.create_task(complete(http, max_tokens=1_000, stream=stream))
        await running(engine, 1)
        await asyncio.sleep(0.1)
        request.cancel()
        await running(engine, 0)
        prompt, generated = await counted(http)
        assert prompt == PROMPT_TOKENS
        assert 2 <= generated < 1_000
        assert (await engine.state())["served"] == 0


async def test_a_client_that_leaves_before_the_first_token_costs_nothing() -> None:
    async with mock(ttft_ms=1_000 * DEADLINE_S) as (engine, http):
        request = asyncio.create_task(complete(http))
        await running(engine, 1)
        request.cancel()
        await running(engine, 0)
        assert await counted(http) == (0, 0)
