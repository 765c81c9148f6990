"""The response as a whole, as it stands at its beginning and at its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from gateway.api.dialects.cost import cost_of
from gateway.api.dialects.responses.options import conversation_id
from gateway.errors import ApiError
from gateway.handoffs import Admitted, EngineCount
from gateway.keeping import Status

NULL = b"null"
_REPEATED = frozenset(
    {
        *("background", "conversation", "instructions", "max_tool_calls", "metadata", "parallel_tool_calls"),
        *("previous_response_id", "prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier"),
        *("text", "tool_choice", "tools", "top_logprobs", "truncation", "user"),
    }
)
"""Fields of a request that its response repeats, but for numbers that most requests send."""


def echo_of(given: Mapping[str, Any]) -> bytes:
    """What a response repeats of its request, as the fields of a JSON object without its braces.

    What was not asked for reads as OpenAI has it where that is what happens; the temperature of a base whose maker
    chose one is not known here, so it is null.
    """
    if _REPEATED.isdisjoint(given):
        return _usual_echo(given.get("temperature"), given.get("top_p"))
    return _echo(given)


@lru_cache(maxsize=256, typed=True)  # 0 and 0.0 are echoed as they were sent
def _usual_echo(temperature: float | None, top_p: float | None) -> bytes:
    return _echo({"temperature": temperature, "top_p": top_p})


def _echo(given: Mapping[str, Any]) -> bytes:
    asked = given.get("reasoning") or {}
    wanted = given.get("text") or {}
    tools = given.get("tools") or ()
    conversation = conversation_id(given)
    parallel = given.get("parallel_tool_calls")
    fields = {
        "background": bool(given.get("background")),
        "conversation": None if conversation is None else {"id": conversation},
        "instructions": given.get("instructions"),
        "max_tool_calls": given.get("max_tool_calls"),
        "metadata": given.get("metadata") or {},
        "parallel_tool_calls": True if parallel is None else parallel,
        "previous_response_id": given.get("previous_response_id"),
        "prompt_cache_key": given.get("prompt_cache_key"),
        "prompt_cache_retention": given.get("prompt_cache_retention"),
        "reasoning": {"effort": asked.get("effort"), "summary": asked.get("summary")},
        "safety_identifier": given.get("safety_identifier"),
        "service_tier": "default",
        "temperature": given.get("temperature"),
        "text": {"format": {"type": "text"}, **wanted},
        "tool_choice": given.get("tool_choice") or "auto",
        "tools": [{"description": None, "parameters": None, "strict": False, **tool} for tool in tools],
        "top_logprobs": given.get("top_logprobs") or 0,
        "top_p": given.get("top_p"),
        "truncation": given.get("truncation") or "disabled",
        "user": given.get("user"),
    }
    return orjson.dumps(fields)[1:-1]


class Document:
    """Writes one response, whatever becomes of it."""

    __slots__ = ("_head", "_tail", "id")

    def __init__(self, admitted: Admitted) -> None:
        request = admitted.request
        created_at_s = int(time.time()) if request.keeping is None else request.keeping.created_at_s
        self.id = f"resp_{admitted.call.request_id}"
        self._head = b'{"id":"%b","object":"response","created_at":%d,"status":"' % (self.id.encode(), created_at_s)
        bound = NULL if request.max_output_tokens is None else b"%d" % request.max_output_tokens
        model = orjson.dumps(admitted.arm.public_name)
        stored = b"true" if request.keeping is not None and request.keeping.store else b"false"
        self._tail = b',"max_output_tokens":%b,"model":%b,"store":%b,%b}' % (bound, model, stored, request.echo)

    def unfinished(self, status: Status) -> bytes:
        """Of which nothing was made yet."""
        return self._write(status, output=b"[]")

    def ended(self, status: Status, output: bytes, usage: bytes, *, reason: str | None = None) -> bytes:
        """Its end; `reason` says why it is incomplete."""
        why = NULL if reason is None else orjson.dumps({"reason": reason})
        at = b"%d" % int(time.time()) if status == "completed" else NULL
        return self._write(status, output=output, usage=usage, incomplete=why, completed_at=at)

    def failed(self, error: ApiError, output: bytes) -> bytes:
        """An end because of an error, behind what was made."""
        said = orjson.dumps({"code": _code_of(error), "message": error.message})
        return self._write("failed", output=output, error=said)

    def _write(
        self,
        status: Status,
        *,
        output: bytes,
        usage: bytes = NULL,
        error: bytes = NULL,
        incomplete: bytes = NULL,
        completed_at: bytes = NULL,
    ) -> bytes:
        return b'%b%b","completed_at":%b,"error":%b,"incomplete_details":%b,"output":%b,"usage":%b%b' % (
            self._head,
            status.encode(),
            completed_at,
            error,
            incomplete,
            output,
            usage,
            self._tail,
        )


def usage_of(admitted: Admitted, count: EngineCount, told: Mapping[str, Any] | None) -> bytes:
    """What the response used, which is what is booked; `told` is how the engine wrote it."""
    read, written = count.prompt_tokens or 0, count.completion_tokens or 0
    details = (told or {}).get("completion_tokens_details")
    thought = details.get("reasoning_tokens") if type(details) is dict else None
    usage = orjson.dumps(
        {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": count.cached_tokens or 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": max(0, min(thought, written)) if type(thought) is int else 0},
            "total_tokens": read + written,
        }
    )
    return b'%b,"cost":%b}' % (usage[:-1], cost_of(admitted, count)) if admitted.request.shows_cost else usage


def _code_of(error: ApiError) -> str:
    """OpenAI's word: clients know these alone."""
    if error.status == 429:
        return "rate_limit_exceeded"
    return "invalid_prompt" if error.status < 500 else "server_error"
