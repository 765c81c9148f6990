"""What clients send back of answers that other vendors gave, and the engine has no use for: dropped unread.

A conversation is often begun with one vendor and carried on with another, and libraries keep all that an answer had:
OpenAI (`annotations`, `parsed`, `audio`), Anthropic (`thinking_blocks`, `citations`, `cache_control`), LiteLLM
(`provider_specific_fields`), OpenRouter (`reasoning_details`, `native_finish_reason`), Gemini (`extra_content`,
`thought_signature`), Azure (`content_filter_results`), LangChain (`additional_kwargs`), Ollama (`thinking`), and the
keys of the choice or the stream event that the message came in.
"""

from __future__ import annotations

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
}
IN_PART = _VENDORS | {"annotations", "citations", "logprobs", "index"}
IN_CALL = _VENDORS - {"id"} | {"index", "call_id", "output", "result", "caller"}
IN_FUNCTION_OF_CALL = _VENDORS | {"parsed_arguments", "index", "description", "output", "result"}
IN_TOOL = _VENDORS | {"eager_input_streaming", "defer_loading", "input_examples", "allowed_callers"}

TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text"}
"""Types of text parts, the Responses API's too, and what each is here."""

THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_text"})
"""Types of parts in which another vendor's model thought, often signed for that vendor alone."""
