"""How much one request may ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache


@dataclass(frozen=True, slots=True)
class Caps:
    """Upper bounds of one request; each field says its unit. Raising `max_stop` above 4 also needs vLLM's
    `VLLM_MAX_STOP_STRINGS`, and `max_logprobs` above 20 needs its `--max-logprobs`."""

    max_body_bytes: int = 4_194_304  # bytes of JSON; 128k tokens of escaped non-Latin text fit
    max_messages: int = 2_048  # messages of one conversation
    max_parts: int = 256  # content parts of one message
    max_prompts: int = 128  # prompts of one completions request
    max_inputs: int = 2_048  # texts of one embeddings, score or rerank request; OpenAI's own bound
    max_input_tokens: int = 300_000  # tokens of all of them; OpenAI's own bound
    max_n: int = 8  # answers to one prompt
    max_choices: int = 128  # answers to one request: n × prompts
    max_logprobs: int = 20  # alternatives a position, of output and of prompt
    max_logprob_entries: int = 1_000_000  # answers × tokens × alternatives, unstreamed; about 75 bytes each
    max_stop: int = 4  # stop strings
    max_stop_chars: int = 1_024  # characters of one stop string or bad word
    max_bad_words: int = 128  # strings
    max_token_ids: int = 1_024  # ids in stop_token_ids and allowed_token_ids
    max_logprob_token_ids: int = 128  # ids in logprob_token_ids; vLLM's own bound
    max_logit_bias: int = 300  # tokens with a bias; OpenAI's own bound
    max_tools: int = 128  # tools, and tool calls of one message
    max_documents: int = 64  # documents for the chat template
    max_grammar_bytes: int = 16_384  # bytes of a regex, grammar or list of choices
    max_schema_bytes: int = 65_536  # bytes of one JSON schema, of a response or of a tool
    max_schema_cost: int = 4_096  # states of its grammar, see `checks.schema_cost`
    max_free_values: int = 16_384  # items and pairs in one piece of free-form JSON
    max_depth: int = 64  # nested objects and arrays in free-form JSON; vLLM's own bound for schemas
    passes_unknown: bool = False  # of a tenant whose unknown fields pass, at every depth


@cache
def lenient(caps: Caps) -> Caps:
    """The same for a tenant whose unknown fields pass."""
    return replace(caps, passes_unknown=True)
