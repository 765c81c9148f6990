"""The engine contract, the very functions that run on the mock engine, on the real vLLM."""

from __future__ import annotations

from tests.contract.contract_cases import *  # noqa: F403
