"""What clients send back of answers that other vendors gave, and the engine has no use for: dropped unread.

A conversation is often begun with one vendor and carried on with another, and libraries keep all that an answer had:
OpenAI (`annotations`, `parsed`, `audio`), Anthropic (`thinking_blocks`, `citations`, `cache_control`), LiteLLM
(`provider_specific_fields`), OpenRouter (`reasoning_details`, `native_finish_reason`), Gemini (`extra_content`,
`thought_signature`), Azure (`content_filter_results`), LangChain (`additional_kwargs`), Ollama (`thinking`), and the
keys of the choice or the stream event that the message came in.

What an assistant said, and what it called, is replayed and not written by hand: there all that nobody knows is dropped,
for everybody, unless it looks like a misspelt key that is read. The lists are for what stands elsewhere too.
"""

from __future__ import annotations

from functools import cache

ANYWHERE = frozenset({"cache_control"})
"""Marks for a cache that needs none here."""

_VENDORS = ANYWHERE | {
    *("provider_specific_fields", "provider_metadata", "providerMetadata", "provider_options", "providerOptions"),
    *("extra_content", "thought_signature", "thoughtSignature", "signature", "thought", "extra"),
    *("content_filter_results", "content_filter_result", "content_filter_offsets", "prompt_cache_breakpoint"),
    *("id", "object", "created", "created_at", "createdAt", "updated_at", "timestamp", "status", "metadata", "phase"),
}
IN_MESSAGE = _VENDORS | {
    *("annotations", "citations", "search_results", "sources", "grounding_metadata", "parsed", "images", "videos"),
    *("reasoning_details", "reasoning_text", "reasoning_signature", "reasoning_opaque", "reasoning_items"),
    *("thinking", "thinking_blocks", "encrypted_content", "executed_tools", "server_tool_use", "context", "intent"),
    *("model", "provider", "usage", "usage_metadata", "token_usage", "timings", "stats", "weight", "index", "logprobs"),
    *("finish_reason", "native_finish_reason", "stop_reason", "stop_sequence", "end_turn", "done", "done_reason"),
    *("additional_kwargs", "response_metadata", "invalid_tool_calls", "tool_call_chunks", "example", "artifact"),
    *("is_error", "isError", "tool_name", "token_ids", "prompt_token_ids", "routed_experts", "audio_content", "type"),
    *("tool_plan", "safety_ratings", "safetyRatings", "grounding_attributions", "avg_logprobs", "vertex_ai"),
    *("reasoningContent", "modelVersion"),
    *("prefix", "partial", "revisionId", "data", "score"),
}
IN_MESSAGE_OF_OTHERS = IN_MESSAGE | {"reasoning", "reasoning_content", "refusal"}
"""Of messages that no assistant said: templates read what it thought in its own ones alone."""
IN_PART = _VENDORS | {"annotations", "citations", "logprobs", "index"}
IN_CALL = (
    _VENDORS - {"id"}
    | {"index", "call_id", "output", "result", "caller"}
    | {
        *("reasoning_details", "thinking_blocks", "annotations", "model", "finish_reason", "response_metadata"),
        *("additional_kwargs", "state"),
    }
)
IN_FUNCTION_OF_CALL = _VENDORS | {"parsed_arguments", "index", "description", "output", "result"}
IN_TOOL = _VENDORS | {"eager_input_streaming", "defer_loading", "input_examples", "allowed_callers"}

TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text"}
"""Types of text parts, the Responses API's too, and what each is here."""

THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_text"})
"""Types of parts in which another vendor's model thought, often signed for that vendor alone."""

STEPS = frozenset({"step-start", "source", "source-url", "source-document", "citation", "grounding"})
"""Types of parts that say how an answer came about."""

SILENT = THOUGHTS | STEPS

CALLS = frozenset(
    {
        *("tool_use", "server_tool_use", "tool-call", "tool_call", "tool-invocation", "function_call", "functionCall"),
        *("mcp_tool_use", "tool_result", "tool-result", "function_call_output", "functionResponse", "mcp_tool_result"),
        *("web_search_tool_result", "code_execution_tool_result", "bash_code_execution_tool_result"),
    }
)
"""Types of parts that repeat what `tool_calls` and messages of tools say, when those are there."""

SILENT_BESIDE_CALLS = SILENT | CALLS


def is_misspelt(key: str, known: frozenset[str]) -> bool:
    """Whether it may be meant for a known key: one letter too many, missing, wrong or misplaced, or another case."""
    word = _plain(key[:64])
    close, longest = _close_to(known)
    return len(word) <= longest and (word in close or not close.isdisjoint(_less_one(word)))


@cache
def _close_to(known: frozenset[str]) -> tuple[frozenset[str], int]:
    """The known words, and what they are with one letter less; and so many letters a misspelt one has at most.
    Short words are close to too many others."""
    words = {word for word in map(_plain, known) if len(word) > 3}
    return frozenset(words.union(*map(_less_one, words))), max(map(len, words), default=0) + 1


def _less_one(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place in range(len(word))]


def _plain(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()
