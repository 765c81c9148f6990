"""Every field that clients may send in several dialects, a line each; what a dialect has alone stands in its own file.

    SAMPLING        checked, then sent to the engine
    HINTS           checked, then read by the gateway or dropped: clients send them, the engine has no use for them
    UNSUPPORTED     OpenAI or older vLLM document them and this service cannot do it: refused, with the remedy
    RESERVED        vLLM reads them and tenants must not set them: refused even where unknown fields pass

A field that is null counts as absent. The fields are those of openai 3.0 and of vLLM 0.32's request models.
"""

from __future__ import annotations

from typing import Any

from gateway.api.fields.checks import (
    INT64_MAX,
    INT64_MIN,
    MAX_TOKEN_ID,
    Check,
    flag,
    integer,
    logit_bias,
    number,
    one_of,
    pairs,
    text,
    texts,
    token_ids,
)
from gateway.api.fields.shapes import (
    anything,
    repetition_detection,
    response_format,
    stream_options,
    structured_outputs,
    usage_options,
)

SAMPLING: dict[str, Check] = {
    # OpenAI's
    "temperature": number(0, 2),
    "top_p": number(0, 1),  # 0: greedy
    "n": integer(1, lambda caps: caps.max_n),
    "seed": integer(INT64_MIN, INT64_MAX),
    "stop": texts(lambda caps: caps.max_stop, or_one=True),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "logit_bias": logit_bias,
    "stream": flag,
    "stream_options": stream_options,
    # vLLM's
    "top_k": integer(-1, MAX_TOKEN_ID),  # 0 and -1: all tokens
    "min_p": number(0, 1),
    "repetition_penalty": number(0, 10, above=True),
    "min_tokens": integer(0, MAX_TOKEN_ID),
    "ignore_eos": flag,
    "stop_token_ids": token_ids(lambda caps: caps.max_token_ids),
    "allowed_token_ids": token_ids(lambda caps: caps.max_token_ids, least=1),
    "bad_words": texts(lambda caps: caps.max_bad_words),
    "include_stop_str_in_output": flag,
    "skip_special_tokens": flag,
    "spaces_between_special_tokens": flag,
    "add_special_tokens": flag,
    "truncate_prompt_tokens": integer(-1, MAX_TOKEN_ID),  # -1: to the model's context
    "truncation_side": one_of("left", "right"),
    "logprob_token_ids": token_ids(lambda caps: caps.max_logprob_token_ids),
    "response_format": response_format,
    "structured_outputs": structured_outputs,
    "repetition_detection": repetition_detection,
    "thinking_token_budget": integer(-1, MAX_TOKEN_ID),  # -1: no limit
    "echo": flag,
    "prompt_logprobs": integer(0, lambda caps: caps.max_logprobs),  # some engines die of it, see `fleet.abilities`
    "return_token_ids": flag,
    "return_tokens_as_token_ids": flag,
}

HINTS: dict[str, Check] = {
    "metadata": pairs,  # conversation_id in it names the unit of a split
    "previous_response_id": text(512, least_chars=1),
    "usage": usage_options,  # include: the answer's usage has its cost
    "user": text(512),
    "safety_identifier": text(512),
    "store": flag,
    "service_tier": one_of("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"),
    "prompt_cache_key": text(1_024),
    "prompt_cache_retention": one_of("in_memory", "in-memory", "24h"),
    "prompt_cache_options": anything,
}

UNSUPPORTED: dict[str, str] = {
    "functions": "Send 'tools' instead.",
    "function_call": "Send 'tool_choice' instead.",
    "audio": "Answers are text; send no 'audio'.",
    "web_search_options": "Web search is not offered; offer the model a tool of your own.",
    "moderation": "Moderation is not offered; call a moderation service yourself.",
    "guided_json": "Send 'structured_outputs': {\"json\": …} or 'response_format' instead.",
    "guided_regex": "Send 'structured_outputs': {\"regex\": …} instead.",
    "guided_choice": "Send 'structured_outputs': {\"choice\": …} instead.",
    "guided_grammar": "Send 'structured_outputs': {\"grammar\": …} instead.",
    "guided_decoding_backend": "The engine chooses; remove it.",
    "guided_whitespace_pattern": "Send 'structured_outputs': {\"whitespace_pattern\": …} instead.",
}

NO_OPS: dict[str, tuple[Any, ...]] = {
    "function_call": ("none", "auto"),  # which is nothing without 'functions'
    "length_penalty": (1, 1.0),
    "priority": (0,),
    "stream_interval": (1,),
    "watermarking": (),
    "moderation": (),
    "data_parallel_rank": (),
}
"""Values that ask for what happens anyway, of refused fields that have others than false and empty text or lists.
An empty object may ask for something, as that of `web_search_options` does."""

RESERVED: dict[str, str] = {
    "priority": "one tenant could pass before all others",
    "cache_salt": "it separates the tenants' prompt caches",
    "request_id": "it carries the signature of the answer's id",
    "session_id": "the gateway decides what belongs together",
    "data_parallel_rank": "the gateway places requests",
    "kv_transfer_params": "it reads and writes other engines' caches",
    "ec_transfer_params": "it reads and writes other engines' caches",
    "vllm_xargs": "it reaches engine extensions unchecked",
    "logits_processors": "it names code to run in the engine",
    "chat_template": "it is a program that the engine would run",
    "prompt_embeds": "it is a serialised tensor, which has no text to count",
    "prompt_token_ids": "the prompt must be what the gateway counts",
    "mm_processor_kwargs": "it changes what an input costs",
    "media_io_kwargs": "it changes what an input costs",
    "mm_payload": "it belongs to the engine's render service",
    "return_mm_kwargs": "it belongs to the engine's render service",
    "return_token_offsets": "it belongs to the engine's render service",
    "return_prompt_text": "it shows the operator's chat template",
    "routed_experts_prompt_start": "it belongs to the operator's traces",
    "use_beam_search": "its work cannot be metered",
    "length_penalty": "it belongs to beam search, whose work cannot be metered",
    "early_stopping": "it belongs to beam search, whose work cannot be metered",
    "stream_interval": "the operator chooses how many tokens make a chunk",
    "watermarking": "the operator decides on it",
    "load_inplace": "it belongs to the engine's adapter service",
    "lora_name": "the adapter is named by 'model'",
    "lora_path": "the adapter is named by 'model'",
    "lora_int_id": "the adapter is named by 'model'",
    "lora_request": "the adapter is named by 'model'",
}
