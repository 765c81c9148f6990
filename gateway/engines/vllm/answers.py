"""What vLLM (0.31 to 0.33) says in answers and refusals that is its own affair, as clients may see it.

Answers: what is null of its own fields is cut out, and what belongs to the operator's traces and caches is never shown,
nor what only its usage counts.
A client who asks for token ids, log-probabilities of the prompt or stop reasons gets them: those are not null then.
vLLM writes compact JSON and escapes quotes inside strings, so a bare `,"token_ids":null` can only be the field itself.
"""

from __future__ import annotations

import re

import orjson

from gateway.errors import BadRequest
from gateway.handoffs import EngineBroke

_MARKS = re.compile(
    rb',"(?:kv_transfer|ec_transfer|metrics|routed_exp|prompt_t|prompt_l|token_|stop_reason|reasoning|multi_?modal|created_cache)'
)
"""What all of them begin with that are looked for below, behind the comma that they have."""
_USUAL = b',"token_ids":null'
"""What nearly every event of a stream has, and nothing else."""
_EXTRAS = re.compile(
    rb',"(?:(?:kv_transfer_params|ec_transfer_params|metrics|prompt_text|prompt_logprobs|prompt_token_ids|token_ids|token_strs'
    rb'|routed_experts|stop_reason|reasoning|multi_modal)":null'
    rb'|(?:created_cache_tokens|multimodal_tokens)":(?:null|\d+|\{[^{}]*\})(?=[,}]))'
)
"""A token that is called like a field of usage has a probability, which is never written as an integer."""
_OPERATORS = ("kv_transfer_params", "ec_transfer_params", "metrics", "routed_experts")
_SHOWN_OPERATORS = re.compile(rb'"(?:kv_transfer_params|ec_transfer_params|metrics|routed_experts)":[{"]')
_DATA = b"data: "
_CONTEXT = re.compile(r"maximum context length|maximum model length|max_model_len")
_LENGTH = re.compile(r"(?:maximum context length(?: is)? \(?|maximum model length of |max_model_len ?= ?)(\d+)")
_OPERATORS_REMEDY = re.compile(r"\s*(?:Please|Make sure)\b.*", re.DOTALL)
_NUMBERS = ("max_tokens", "max_completion_tokens", "truncate_prompt_tokens")
"""Fields that alone can be more than the context."""
_PROMPT_FILLS_IT = "max_tokens must be at least 1, got 0"


def without_extras(data: bytes) -> bytes:
    """A whole document less what only vLLM's own clients know. Raises `EngineBroke` when it cannot be read."""
    data = _EXTRAS.sub(b"", data)
    return _less_operators(data) if _SHOWN_OPERATORS.search(data) else data


def events_without_extras(block: bytes) -> bytes:
    """The same for whole events of a stream."""
    block = block.replace(_USUAL, b"")
    if not _MARKS.search(block):
        return block
    block = _EXTRAS.sub(b"", block)
    if not _SHOWN_OPERATORS.search(block):
        return block
    return b"\n\n".join(
        _DATA + _less_operators(event.removeprefix(_DATA)) if event.startswith(_DATA + b"{") else event
        for event in block.split(b"\n\n")
    )


def _less_operators(data: bytes) -> bytes:
    try:
        document = orjson.loads(data)
        for holder in (document, *document.get("choices", ())):
            for name in _OPERATORS:
                holder.pop(name, None)
    except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise EngineBroke("the engine's answer cannot be understood") from error
    return orjson.dumps(document)


def refusal_of(message: str, param: str | None, prompt: str, context: int | None = None) -> BadRequest | None:
    """A prompt or answer that does not fit as OpenAI puts it; None for what is not about the context.

    `prompt` is the field that it stands in, `context` what the engine says that it has, in tokens. vLLM's remedies are
    left out: some are for who starts it.
    """
    fills_it = _PROMPT_FILLS_IT in message
    if not fills_it and not _CONTEXT.search(message):
        return None
    said = next((int(one) for one in _LENGTH.findall(message)), context)
    room = (
        f"the context of this model, {said} tokens for prompt and answer together" if said else "this model's context"
    )
    if param in _NUMBERS and not fills_it:
        field, remedy = param, f"'{param}' is more than {room}. Ask for less."
    else:
        field, remedy = prompt, f"'{prompt}' does not fit {room}. Send less of it."
    code = "invalid_value" if field == "truncate_prompt_tokens" else "context_length_exceeded"
    found = _OPERATORS_REMEDY.sub("", re.sub(r" \(parameter=[^)]*\)", "", message))
    detail = "It leaves no room for an answer." if fills_it else f"(The engine: {found})"
    return BadRequest(f"{remedy} {detail}", param=field, code=code)
