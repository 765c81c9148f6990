"""One real vLLM for the whole session, one gateway in front of it, the two sample tenants inside."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.contract_engine import EngineUnderTest
from tests.live.installation import DEADLINE_S, Live, default_base_folder, real_installation


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("live")
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with real_installation(default_base_folder(), tmp_path_factory.mktemp("live")) as live:
        yield live


@pytest.fixture
async def engine(live: Live, tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    """The real engine as the contract's cases see it."""
    config = json.loads((live.base_folder / "config.json").read_text())
    async with httpx.AsyncClient(base_url=live.engine_url, timeout=DEADLINE_S) as http:
        yield EngineUnderTest(http, "base", 16, 16, 1024, config, tmp_path, joins_chunks=True)
