"""A real vLLM that pools: its contract, the very functions that run on the mock engine, and a gateway in front of it.

`make test` has room for one real engine, which generates; this one is started by `make live-pooling`.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.contract.contract_engine import EngineUnderTest
from tests.contract.contract_pooling import *  # noqa: F403
from tests.live.installation import DEADLINE_S, Live, default_base_folder, real_installation

ASKED = "SWITCHYARD_TEST_LIVE_POOLING"
pytestmark = pytest.mark.skipif(
    ASKED not in os.environ, reason=f"{ASKED} is not set: a pooling engine of its own is started by make live-pooling"
)


@pytest.fixture(scope="module")
def pooling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with real_installation(default_base_folder(), tmp_path_factory.mktemp("pooling"), pools=True) as live:
        yield live


@pytest.fixture
async def engine(pooling: Live, tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    config = json.loads((pooling.base_folder / "config.json").read_text())
    async with httpx.AsyncClient(base_url=pooling.engine_url, timeout=DEADLINE_S) as http:
        yield EngineUnderTest(http, "base", 16, 16, 1024, config, tmp_path)


async def test_each_tenants_adapter_has_vectors_of_its_own_through_the_gateway(pooling: Live) -> None:
    found = []
    for tenant in sorted(pooling.keys):
        async with pooling.client(tenant) as client:
            models = [card.id async for card in client.models.list()]
            answer = await client.embeddings.create(model=models[0], input="Hello world")
            assert answer.model.startswith(f"{tenant}/")
            assert answer.usage.prompt_tokens == answer.usage.total_tokens == 2
            found.append(tuple(answer.data[0].embedding))
    assert len(set(found)) == len(found) > 1


async def test_a_chat_is_told_what_the_engine_has(pooling: Live) -> None:
    async with pooling.client(min(pooling.keys)) as client:
        models = [card.id async for card in client.models.list()]
        with pytest.raises(openai.NotFoundError, match="not served at /v1/chat/completions"):
            await client.chat.completions.create(model=models[0], messages=[{"role": "user", "content": "x"}])


async def test_documents_are_ranked_through_the_gateway(pooling: Live) -> None:
    tenant = min(pooling.keys)
    async with pooling.client(tenant) as client:
        models = [card.id async for card in client.models.list()]
    headers = {"Authorization": f"Bearer {pooling.keys[tenant]}"}
    body = {"model": models[0], "query": "Hello", "documents": ["moon", "Hello"]}
    async with httpx.AsyncClient(base_url=pooling.url, headers=headers, timeout=60) as http:
        answer = (await http.post("/v1/rerank", json=body)).json()
    assert [one["index"] for one in answer["results"]] == [1, 0]
    assert answer["results"][0]["document"] == {"text": "Hello"}
