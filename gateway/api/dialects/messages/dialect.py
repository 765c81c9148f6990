"""`/v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.api.dialects.chat_count import ChatCount
from gateway.api.dialects.messages.answers import MessageReader
from gateway.api.dialects.messages.errors import envelope, event
from gateway.api.dialects.messages.fields import (
    FORWARDED,
    HINTS,
    PROMPT,
    REFUSED,
    budget_below_max,
    has_max_tokens,
    one_format,
)
from gateway.api.dialects.messages.tools import chosen, names_a_tool
from gateway.api.dialects.translated import Translated
from gateway.errors import ApiError
from gateway.handoffs import Admitted, EngineCount

_PASSED = ("temperature", "top_p", "top_k", "tools", "chat_template_kwargs")
"""Fields that a chat has too, by the same name and in the same form."""
_SCHEMA_OF_TOOL = re.compile(r"(tools\[\d+\])\.function\.parameters")
_FUNCTION = re.compile(r"(tools\[\d+\]|tool_choice)\.function")
_RULES = (
    ("tool_choice", names_a_tool),
    ("thinking", budget_below_max),
    ("output_format", one_format),
)


def chat_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The chat that a checked body stands for; the same prompt as vLLM makes of it, but that an answer which the client
    has begun goes on.
    """
    chat = {name: body[name] for name in _PASSED if name in body}
    messages = body["messages"]
    chat["messages"] = [{"role": "system", "content": body["system"]}, *messages] if "system" in body else messages
    if "max_tokens" in body:
        chat["max_completion_tokens"] = body["max_tokens"]
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    if "tool_choice" in body:
        chat |= chosen(body["tool_choice"])
    config = body.get("output_config", {})
    form = config.get("format") or body.get("output_format")
    if form is not None:
        chat["response_format"] = form
    if "effort" in config:
        chat["reasoning_effort"] = config["effort"]
    thinking = body.get("thinking", {"type": "adaptive"})
    if thinking["type"] == "disabled":
        chat["reasoning_effort"] = "none"
    elif thinking["type"] == "enabled":
        chat["thinking_token_budget"] = thinking["budget_tokens"]
    last = messages[-1]
    if last["role"] == "assistant" and last.get("content") and "tool_calls" not in last:
        chat["continue_final_message"] = True
    return chat


class Messages(Translated):
    """Anthropic's Messages."""

    name = "messages"
    path = "/v1/messages"
    summary = "Anthropic's Messages, streamed or not"
    required = ("messages",)
    forwarded = FORWARDED
    not_forwarded = HINTS
    refused = REFUSED
    rules = (("messages", has_max_tokens), *_RULES)
    request_id_header = b"request-id"
    wishes = {"reasoning": "thinking_token_budget"}  # noqa: RUF012  # who thinks not at all is below every bound
    public_fields = {  # noqa: RUF012
        "max_completion_tokens": "max_tokens",
        "stop": "stop_sequences",
        "response_format.json_schema.schema": "output_config.format.schema",
        "response_format": "output_config.format",
        "reasoning_effort": "output_config.effort",
        "thinking_token_budget": "thinking.budget_tokens",
    }

    def chat(self, given: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
        """See `chat_of`."""
        return chat_of(body)

    @staticmethod
    def user(given: Mapping[str, Any]) -> str | None:
        """Whom the client answers."""
        return (given.get("metadata") or {}).get("user_id")

    def reader(self, admitted: Admitted, count: EngineCount) -> MessageReader:
        """Of one message."""
        return MessageReader(admitted, count)

    def public_field(self, field: str) -> str:
        """Schemas of tools stand in another place."""
        return super().public_field(_FUNCTION.sub(r"\1", _SCHEMA_OF_TOOL.sub(r"\1.input_schema", field)))

    def error_body(self, error: ApiError) -> bytes:
        """In Anthropic's envelope."""
        return envelope(error)

    def error_event(self, error: ApiError) -> bytes:
        """With the name that Anthropic's streams give it."""
        return event(error)


class CountTokens(ChatCount):
    """How many tokens the prompt of a message has."""

    name = "count_tokens"
    path = "/v1/messages/count_tokens"
    summary = "Anthropic's count of a prompt's tokens"
    required = ("messages",)
    forwarded = PROMPT
    not_forwarded = HINTS
    refused = REFUSED
    rules = _RULES
    request_id_header = b"request-id"
    answer = b'{"input_tokens":%b}'
    counts = Messages()
