"""OpenAI's older completions: a text goes on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.api.dialects.completions_document import CompletionsAssembly
from gateway.api.dialects.generation import SHORTLY, Generation
from gateway.api.fields.checks import MAX_TOKEN_ID, integer, text
from gateway.api.fields.prompt import count_of, prompts
from gateway.api.fields.table import HINTS, SAMPLING
from gateway.api.fields.together import (
    SHARED,
    best_is_all,
    min_below_max,
    not_too_many,
    not_too_many_choices,
    nothing_only_with_echo,
    one_limit,
)

DEFAULT_TOKENS = 16
"""OpenAI's and vLLM's `max_tokens` of each answer."""


class Completions(Generation):
    """One text or many, and what comes after each."""

    name = "completions"
    path = "/v1/completions"
    summary = "OpenAI's completions, streamed or not"
    assembly = CompletionsAssembly
    required = ("prompt",)
    forwarded = SAMPLING | {
        "prompt": prompts(lambda caps: caps.max_prompts, "prompt"),
        "suffix": text(65_536),
        "max_tokens": integer(0, MAX_TOKEN_ID),  # 0: score the prompt, with echo
        "max_completion_tokens": integer(0, MAX_TOKEN_ID),  # the same, as chat calls it
        "logprobs": integer(0, lambda caps: caps.max_logprobs),
    }
    not_forwarded = HINTS | {"best_of": integer(1, lambda caps: caps.max_n)}
    rules = (
        *SHARED,
        ("prompt", not_too_many_choices),
        ("max_tokens", one_limit),
        *((param, nothing_only_with_echo(param)) for param in ("max_tokens", "max_completion_tokens")),
        ("min_tokens", min_below_max(DEFAULT_TOKENS)),
        ("best_of", best_is_all),
        ("logprobs", not_too_many("logprobs", DEFAULT_TOKENS)),
    )
    default_output_tokens = DEFAULT_TOKENS
    question = MappingProxyType({"prompt": "Say hello.", **SHORTLY})

    def choices(self, body: Mapping[str, Any]) -> int:
        """Of every prompt as many."""
        return super().choices(body) * count_of(body["prompt"])
