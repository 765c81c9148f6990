"""What holds in every dialect in which a model writes, the very functions that run on the mock engine, on vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from registry.service import Registry
from tests.contract.contract_dialects import *  # noqa: F403
from tests.contract.contract_dialects import Served
from tests.live.installation import Live
from tests.support.waiting import wait_until


@pytest.fixture
def served(live: Live) -> Iterator[Served]:
    with httpx.Client(base_url=live.url, timeout=60) as http, Registry.open(live.registry_settings()) as registry:

        def rows(request_id: str) -> list[dict[str, Any]]:
            def shipped() -> list[dict[str, Any]]:
                return [row for row in registry.ledger.recent(100) if row["request_id"] == request_id]

            return wait_until(f"usage of {request_id}", shipped)

        yield Served(http, live.keys["acme"], rows)
