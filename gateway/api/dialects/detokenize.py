"""The text that token ids stand for: `/v1/detokenize`, as vLLM has it. It costs nothing."""

from __future__ import annotations

from typing import Any

from gateway.api.dialects.unmetered import Unmetered
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import all_token_ids, invalid, wrong_type

_EXPECTED = "a non-empty list of token ids"


def tokens(value: Any, param: str, caps: Caps) -> list[int]:
    """Token ids, as many as fit into a body."""
    if type(value) is not list:
        raise wrong_type(param, _EXPECTED, value)
    if not value:
        raise invalid(param, _EXPECTED, value)
    return all_token_ids(value, param)


class Detokenize(Unmetered):
    """Token ids."""

    name = "detokenize"
    path = "/v1/detokenize"
    summary = "vLLM's detokenize: the text that token ids stand for"
    required = ("tokens",)
    forwarded = {"tokens": tokens}  # noqa: RUF012
    answer_begins = b'{"prompt":'
