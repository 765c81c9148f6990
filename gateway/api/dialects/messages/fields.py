"""Every field of a Messages request, a line each; `gateway.api.fields.table` has what is refused in all dialects.

The fields are those of anthropic 2.12, with its betas, and `chat_template_kwargs` of vLLM's own Messages.
"""

from __future__ import annotations

from typing import Any

from gateway.api.dialects.messages.conversation import messages, system
from gateway.api.dialects.messages.tools import tool_choice, tools
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import MAX_TOKEN_ID, Check, flag, integer, number, one_of, options, schema, text, texts
from gateway.api.fields.grammar_cost import affordable
from gateway.api.fields.shapes import anything, template_kwargs
from gateway.api.fields.together import Given
from gateway.errors import BadRequest

_THINKING = one_of("enabled", "disabled", "adaptive", "between_tools")
_DISPLAY = one_of("summarized", "omitted", "updates")
_BUDGET = integer(1_024, MAX_TOKEN_ID)
_EFFORT = one_of("low", "medium", "high", "xhigh", "max")
_FORMAT = one_of("json_schema")
_USER = text(1_024)


def thinking(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """Whether the model thinks first, and at most how much. Thoughts are always shown, whatever `display` says."""
    given = options(value, param, frozenset({"type", "budget_tokens", "display", "block_binding"}), caps)
    if _THINKING(given.get("type"), f"{param}.type", caps) == "enabled":
        given["budget_tokens"] = _BUDGET(given.get("budget_tokens"), f"{param}.budget_tokens", caps)
    if "display" in given:
        _DISPLAY(given["display"], f"{param}.display", caps)
    return given


def output_format(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """The schema that an answer must meet, as a chat has it."""
    given = options(value, param, frozenset({"type", "schema"}), caps)
    _FORMAT(given.get("type"), f"{param}.type", caps)
    path = f"{param}.schema"
    wanted = schema(given.get("schema"), path, caps)
    affordable([wanted], path, caps)
    return {"type": "json_schema", "json_schema": {"name": "json_schema", "schema": wanted}}


def output_config(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """Form and effort of an answer; `task_budget` is a hint that the model is not given."""
    given = options(value, param, frozenset({"effort", "format", "task_budget"}), caps)
    if "effort" in given:
        _EFFORT(given["effort"], f"{param}.effort", caps)
    if "format" in given:
        given["format"] = output_format(given["format"], f"{param}.format", caps)
    return given


def metadata(value: Any, param: str, caps: Caps) -> dict[str, str]:
    """`user_id`; and `conversation_id`, as in chats, for the unit of a split."""
    given = options(value, param, frozenset({"user_id", "conversation_id"}), caps)
    return {key: _USER(item, f"{param}.{key}", caps) for key, item in given.items()}


PROMPT: dict[str, Check] = {
    "messages": messages,
    "system": system,
    "tools": tools,
    "tool_choice": tool_choice,
    "thinking": thinking,
    "output_config": output_config,
    "output_format": output_format,  # as betas called what is output_config.format now
    "chat_template_kwargs": template_kwargs,
}
"""What a prompt is made of; requests to count its tokens have the same."""

FORWARDED: dict[str, Check] = PROMPT | {
    "max_tokens": integer(1, MAX_TOKEN_ID),
    "stop_sequences": texts(lambda caps: caps.max_stop),
    "temperature": number(0, 1),
    "top_p": number(0, 1),
    "top_k": integer(0, MAX_TOKEN_ID),  # 0: all tokens
    "stream": flag,
}

HINTS: dict[str, Check] = {
    "metadata": metadata,
    "cache_control": anything,  # all prompts are cached
    "context_management": anything,  # a conversation is never shortened
    "diagnostics": anything,
    "service_tier": one_of("auto", "standard_only"),
    "speed": one_of("standard", "fast"),
}
"""Checked, then read by the gateway or dropped."""

REFUSED: dict[str, str] = {
    "container": "Nothing is run here; run code yourself and send what comes of it.",
    "mcp_servers": "Nothing is called from here; offer what the server has as 'tools', and call it yourself.",
    "inference_geo": "Models answer where they are installed; remove it.",
    "compaction": "Summarise the conversation in a request of your own.",
    "thread": "Nothing is kept of a conversation; send all of it in 'messages'.",
    "fallbacks": "Send the request again with another 'model'.",
    "fallback_credit_token": "Send the request again with another 'model'.",
    "billing_policy": "The key says who pays; remove it.",
}


def has_max_tokens(given: Given, caps: Caps) -> None:
    """Anthropic's answers are bounded by their clients."""
    if given.get("max_tokens") is None:
        raise BadRequest(
            "'max_tokens' is required: the most tokens that the answer may have.",
            param="max_tokens",
            code="missing_required_parameter",
        )


def budget_below_max(given: Given, caps: Caps) -> None:
    """An answer has room behind its thoughts."""
    budget, most = given["thinking"].get("budget_tokens"), given.get("max_tokens")
    if given["thinking"]["type"] == "enabled" and most is not None and budget >= most:
        raise BadRequest(
            f"'thinking.budget_tokens' is {budget} and 'max_tokens', which counts thoughts too, is {most}. Send a "
            "larger 'max_tokens' or a smaller budget.",
            param="thinking.budget_tokens",
            code="invalid_value",
        )


def one_format(given: Given, caps: Caps) -> None:
    """The two names of one thing are not both used."""
    if (given.get("output_config") or {}).get("format") is not None:
        raise BadRequest(
            "Send 'output_config.format' or 'output_format', not both.", param="output_format", code="invalid_value"
        )
