"""OpenAI's embeddings: a vector for each text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.api.dialects.pooling import OPTIONS, Pooling, refuse_too_much
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import flag, integer, one_of
from gateway.api.fields.prompt import count_of, prompts
from gateway.api.fields.together import Given

MOST_DIMENSIONS = 65_536


def _not_too_much(given: Given, caps: Caps) -> None:
    value = given["input"]
    refuse_too_much("input", value if type(value) is list and type(value[0]) is not int else [value], caps)


class Embeddings(Pooling):
    """One text or list of token ids, or many."""

    name = "embeddings"
    path = "/v1/embeddings"
    summary = "OpenAI's embeddings: a vector for each text"
    required = ("input",)
    forwarded = OPTIONS | {
        "input": prompts(lambda caps: caps.max_inputs, "input"),
        "encoding_format": one_of("float", "base64"),
        "dimensions": integer(1, MOST_DIMENSIONS),
        "add_special_tokens": flag,
    }
    rules = (("input", _not_too_much),)
    question = MappingProxyType({"input": "Say hello."})
    answers_in = "data"
    bulky = True

    def inputs(self, body: Mapping[str, Any]) -> int:
        """One for each."""
        return count_of(body["input"])
