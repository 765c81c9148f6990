"""Where vLLM (0.31 to 0.33) answers what clients ask."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.handoffs import Endpoint

INFERENCE_PATHS: Mapping[Endpoint, bytes] = {
    "chat": b"/v1/chat/completions",
    "completions": b"/v1/completions",
    "tokenize": b"/tokenize",
    "detokenize": b"/detokenize",
    "embeddings": b"/v1/embeddings",
    "score": b"/score",
    "rerank": b"/rerank",
}


def path_of(endpoint: Endpoint) -> str:
    """Where an engine answers it."""
    return INFERENCE_PATHS[endpoint].decode()
