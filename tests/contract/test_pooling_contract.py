"""The contract of an engine that pools, on the mock engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from loadtest.folders import TINY_BASE
from loadtest.mock_engine.options import Options
from loadtest.testing import MockEngine
from tests.contract.contract_engine import EngineUnderTest
from tests.contract.contract_pooling import *  # noqa: F403
from tests.support.waiting import DEADLINE_S


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockEngine]:
    base = tmp_path_factory.mktemp("base")
    (base / "config.json").write_text(json.dumps(TINY_BASE))
    engine = MockEngine(Options(model=str(base), runner="pooling"))
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.stop())


@pytest.fixture
async def engine(mock: MockEngine, tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    options = mock.options
    async with httpx.AsyncClient(base_url=mock.url, timeout=DEADLINE_S, verify=False) as http:
        yield EngineUnderTest(
            http, "base", options.max_lora_rank, options.max_cpu_loras, options.max_model_len, TINY_BASE, tmp_path
        )
