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
    try:
        answers = await asyncio.gather(*(http.get(path.decode()) for path in INFERENCE_PATHS.values()))
    except httpx.HTTPError as error:
        raise Unreachable(f"a question about its endpoints broke off: {str(error) or type(error).__name__}") from error
    return frozenset(
        endpoint for endpoint, answer in zip(INFERENCE_PATHS, answers, strict=True) if answer.status_code == 404
    )


def short_question(missing: Set[Endpoint]) -> Question:
    """What to ask an engine without these endpoints: of those that it has, the first here."""
    endpoint = next((one for one in _QUESTIONS if one not in missing), "completions")
    return Question(endpoint, _QUESTIONS[endpoint])
