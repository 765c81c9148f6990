"""Which of its endpoints a vLLM (0.31 to 0.33) has: one that generates and one that pools (`--runner pooling`) have
different ones, and a pooling one those of its model's task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import httpx

from gateway.engines.faults import Unreachable
from gateway.engines.vllm.paths import INFERENCE_PATHS
from gateway.handoffs import Endpoint


class Question(NamedTuple):
    """A short one that an engine answers with a count and the name of the model."""

    endpoint: Endpoint
    body: Mapping[str, Any]


_QUESTIONS: Mapping[Endpoint, Mapping[str, Any]] = {
    "completions": {"prompt": [1, 2, 3], "max_tokens": 1, "temperature": 0},
    "embeddings": {"input": [1, 2, 3]},
    "score": {"queries": "x", "documents": "x"},
}


async def missing_endpoints(http: httpx.AsyncClient) -> frozenset[Endpoint]:
    """Those that it does not have. It is asked by GET, which none of them takes: 404 is no, and any other answer yes.

    Raises `Unreachable`.
    """
    asked = (http.get(path.decode()) for path in INFERENCE_PATHS.values())
    missing = set()
    for endpoint, answer in zip(INFERENCE_PATHS, await asyncio.gather(*asked, return_exceptions=True), strict=True):
        if isinstance(answer, httpx.HTTPError):  # when all have ended: none goes on behind the back of who closes
            fault = str(answer) or type(answer).__name__
            raise Unreachable(f"a question about its endpoints broke off: {fault}") from answer
        if isinstance(answer, BaseException):
            raise answer
        if answer.status_code == 404:
            missing.add(endpoint)
    return frozenset(missing)


def short_question(missing: Set[Endpoint]) -> Question:
    """What to ask an engine without these endpoints: of those that it has, the first here."""
    endpoint = next((one for one in _QUESTIONS if one not in missing), "completions")
    return Question(endpoint, _QUESTIONS[endpoint])
