"""The ways in which clients ask, one file each: where, with which fields, and how its answers and errors read.

A dialect is a subclass of `Dialect` in a file of its own and one line here; an engine's kind says where its engines
answer it (vLLM: `gateway/engines/vllm/paths.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.dialects.chat import Chat
from gateway.api.dialects.completions import Completions
from gateway.api.dialects.detokenize import Detokenize
from gateway.api.dialects.dialect import Dialect
from gateway.api.dialects.embeddings import Embeddings
from gateway.api.dialects.messages.dialect import CountTokens, Messages
from gateway.api.dialects.rerank import Rerank
from gateway.api.dialects.responses.dialect import Responses
from gateway.api.dialects.responses.input_tokens import InputTokens
from gateway.api.dialects.score import Score
from gateway.api.dialects.tokenize import Tokenize

DIALECTS: Mapping[str, Dialect] = {
    one.name: one
    for one in (
        Chat(),
        Completions(),
        Responses(),
        InputTokens(),
        Messages(),
        CountTokens(),
        Embeddings(),
        Score(),
        Rerank(),
        Tokenize(),
        Detokenize(),
    )
}
"""By name."""
BY_PATH: Mapping[str, Dialect] = {one.path: one for one in DIALECTS.values()}
