"""What holds in every dialect in which a model writes, on the mock engine."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.contract.contract_dialects import *  # noqa: F403
from tests.contract.contract_dialects import Served
from tests.support.stack import Stack
from tests.support.waiting import DEADLINE_S


@pytest.fixture
def served(stack: Stack) -> Iterator[Served]:
    keys = stack.house.keys
    with httpx.Client(base_url=stack.url, timeout=DEADLINE_S) as http:
        yield Served(http, keys["acme"], stack.house.usage_of)
