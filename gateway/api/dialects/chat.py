"""OpenAI's chat completions."""

from __future__ import annotations

from types import MappingProxyType

from gateway.api.dialects.chat_document import ChatAssembly
from gateway.api.dialects.generation import SHORTLY, Generation
from gateway.api.fields.checks import MAX_TOKEN_ID, flag, integer, one_of
from gateway.api.fields.messages import messages
from gateway.api.fields.shapes import documents, prediction, template_kwargs, text_only, tool_choice, tools
from gateway.api.fields.table import HINTS, SAMPLING
from gateway.api.fields.together import (
    SHARED,
    UNBOUNDED_TOKENS,
    compiled_tools_are_affordable,
    min_below_max,
    names_a_tool,
    needs_logprobs,
    no_new_turn,
    not_too_many,
    one_limit,
)


class Chat(Generation):
    """A conversation, and the message that goes on with it."""

    name = "chat"
    path = "/v1/chat/completions"
    summary = "OpenAI's chat completions, streamed or not"
    assembly = ChatAssembly
    required = ("messages",)
    forwarded = SAMPLING | {
        "messages": messages,
        "max_tokens": integer(1, MAX_TOKEN_ID),
        "max_completion_tokens": integer(1, MAX_TOKEN_ID),
        "logprobs": flag,
        "top_logprobs": integer(0, lambda caps: caps.max_logprobs),
        "tools": tools,
        "tool_choice": tool_choice,
        "parallel_tool_calls": flag,
        "reasoning_effort": one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        "include_reasoning": flag,
        "documents": documents,
        "add_generation_prompt": flag,
        "continue_final_message": flag,
        "chat_template_kwargs": template_kwargs,
    }
    not_forwarded = HINTS | {
        "modalities": text_only,
        "prediction": prediction,
        "verbosity": one_of("low", "medium", "high"),
    }
    rules = (
        *SHARED,
        ("max_tokens", one_limit),
        ("min_tokens", min_below_max(None)),
        ("top_logprobs", needs_logprobs("top_logprobs")),
        ("top_logprobs", not_too_many("top_logprobs", UNBOUNDED_TOKENS)),
        ("tool_choice", names_a_tool),
        ("tools", compiled_tools_are_affordable),
        ("continue_final_message", no_new_turn),
    )
    question = MappingProxyType({"messages": [{"role": "user", "content": "Say hello."}], **SHORTLY})
