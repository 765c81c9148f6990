"""OpenAI's count of the tokens that a response would read, earlier turns too."""

from __future__ import annotations

from gateway.api.dialects.chat_count import ChatCount
from gateway.api.dialects.responses.dialect import Responses
from gateway.api.dialects.responses.fields import FORWARDED, NOT_FORWARDED, REFUSED
from gateway.api.dialects.responses.rules import RULES
from gateway.api.fields.checks import text

_READ = (
    *("input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation"),
    *("documents", "chat_template_kwargs"),
)
"""Fields of a response of which the model reads something, or OpenAI thinks that it might."""
_NOT_READ = ("conversation", "previous_response_id", "metadata", "user", "safety_identifier")


class InputTokens(ChatCount):
    """How many tokens the prompt of a response has."""

    name = "input_tokens"
    path = "/v1/responses/input_tokens"
    summary = "OpenAI's count of the tokens that a response would read"
    required = ("input",)
    forwarded = {name: FORWARDED[name] for name in _READ}  # noqa: RUF012
    not_forwarded = {  # noqa: RUF012
        **{name: NOT_FORWARDED[name] for name in _NOT_READ},
        "personality": text(64),  # a style of OpenAI's own models
    }
    refused = REFUSED
    rules = tuple(rule for rule in RULES if rule[0] in {*_READ, *_NOT_READ})
    answer = b'{"object":"response.input_tokens","input_tokens":%b}'
    counts = Responses()
