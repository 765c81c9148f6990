"""Bodies of Anthropic's Messages, what engines are asked for them, and what readers make of engines' answers."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.dialects import DIALECTS
from gateway.api.dialects.messages.answers import MessageReader
from gateway.api.fields.caps import Caps
from gateway.handoffs import EngineCount, InferenceRequest
from tests.support.admitted import admitted

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
TOOL: dict[str, Any] = {"name": "f", "description": "Does it.", "input_schema": {"type": "object"}}
CALL: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1]}}
RESULT: dict[str, Any] = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def request(*, allow_unknown: bool = False, dialect: str = "messages", **fields: Any) -> InferenceRequest:
    """A checked request; fields that are `...` are left out."""
    body = {"model": "m", "max_tokens": 9, "messages": [USER], **fields}
    raw = orjson.dumps({name: value for name, value in body.items() if value is not ...})
    return DIALECTS[dialect].parse(raw, caps=Caps(), allow_unknown=allow_unknown)


def chat(**fields: Any) -> dict[str, Any]:
    """What an engine is asked, less what is asked of every stream."""
    ours = ("stream", "stream_options", "stream_interval")
    return {name: value for name, value in request(**fields).body.items() if name not in ours}


def reader(**fields: Any) -> tuple[MessageReader, EngineCount]:
    """What reads the answer to a request, and its count."""
    count = EngineCount()
    made = DIALECTS["messages"].reader(admitted(request(**fields)), count)
    assert isinstance(made, MessageReader)
    return made, count


def event(document: Any) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def said(delta: dict[str, Any], tokens: int = 1, **choice: Any) -> bytes:
    """A chunk of an engine's stream."""
    usage = {"prompt_tokens": 9, "total_tokens": 9 + tokens, "completion_tokens": tokens}
    return event({"id": "c", "choices": [{"index": 0, "delta": delta, **choice}], "usage": usage})


def called(number: int, arguments: str, name: str | None = None) -> dict[str, Any]:
    """A delta with some of a call; the first of it has its name."""
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    begins = {} if name is None else {"id": f"call-{number}", "type": "function"}
    return {"tool_calls": [{"index": number, **begins, "function": function}]}


BEGIN = said({"role": "assistant", "content": ""}, 0)
COUNT = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
END = event({"id": "c", "choices": [], "usage": COUNT}) + b"data: [DONE]\n\n"
