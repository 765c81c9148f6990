"""Rerank, as Jina and Cohere have it: documents in the order in which they answer a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.api.dialects.pooling import OPTIONS, Pooling, PoolingReader, refuse_too_much
from gateway.api.dialects.score import PER_TEXT, as_list, texts_of
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import flag, integer, missing, text, wrong_type
from gateway.api.fields.together import Given
from gateway.handoffs import Admitted, EngineBroke, EngineCount
from registry.bases.normalization import normal_bytes

MOST_CHARS = 4_194_304
"""Of a query; the bytes of a body bound it first."""


def _documents(value: Any, param: str, caps: Caps) -> list[str]:
    """Texts, or objects with a `text`, as Cohere and Jina take them."""
    if type(value) is not list:
        raise wrong_type(param, "a non-empty list of strings, or of objects with a 'text'", value)
    texts = [one["text"] if type(one) is dict and one.keys() == {"text"} else one for one in value]
    return as_list(texts_of(texts, param, caps))


def _not_too_much(given: Given, caps: Caps) -> None:
    refuse_too_much("documents", [given["query"]] * len(given["documents"]) + given["documents"], caps)


def _has_documents(given: Given, caps: Caps) -> None:
    if given.get("documents") is None:
        raise missing("documents")


class Rerank(Pooling):
    """A query, and documents."""

    name = "rerank"
    path = "/v1/rerank"
    summary = "Jina's and Cohere's rerank: documents by how well they answer a query"
    required = ("query",)
    forwarded = (
        OPTIONS
        | PER_TEXT
        | {
            "query": text(MOST_CHARS, least_chars=1),
            "documents": _documents,
            "top_n": integer(0, lambda caps: caps.max_inputs),  # 0: all
            "return_documents": flag,
        }
    )
    rules = (("query", _has_documents), ("documents", _not_too_much))
    answers_in = "results"

    def prompt_field(self, body: Mapping[str, Any]) -> str:
        """Of which there may be many."""
        return "documents"

    def inputs(self, body: Mapping[str, Any]) -> int:
        """One for each text, which is as many as there can be: some models read pairs, others texts."""
        return 1 + len(body["documents"])

    def added_tokens(self, body: Mapping[str, Any]) -> int:
        """The query may be read with each document."""
        return super().added_tokens(body) + (len(body["documents"]) - 1) * normal_bytes(body["query"])

    def engine_body(self, body: Mapping[str, Any], model: str, cache_salt: str) -> dict[str, Any]:
        """Whether documents come back is decided here: vLLM always sends them."""
        asked = super().engine_body(body, model, cache_salt)
        asked.pop("return_documents", None)
        return asked

    def reader(self, admitted: Admitted, count: EngineCount) -> PoolingReader:
        """With the documents or without them."""
        return RerankReader(admitted, count)


class RerankReader(PoolingReader):
    """Leaves the documents out, if the client wants none."""

    def document(self, data: bytes) -> bytes:
        """Raises `EngineBroke`."""
        data = super().document(data)
        if self._admitted.request.body.get("return_documents") is not False:
            return data
        try:
            answer = orjson.loads(data)
            for result in answer["results"]:
                del result["document"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise EngineBroke("the engine's answer cannot be understood") from error
        return orjson.dumps(answer)
