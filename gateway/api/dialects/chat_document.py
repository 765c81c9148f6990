"""A chat's document, of its stream."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.dialects.assembly import Assembly, Written
from gateway.handoffs import EngineBroke

_BEGINS, _ENDS = b'{"content":[', b"]}"


class ChatAssembly(Assembly):
    """Of chats without tools. What some parsers take for a call all the same is none in a document."""

    kind = "chat.completion"

    __slots__ = ()

    def take(self, choice: dict[str, Any], written: Written) -> None:
        """Of its message."""
        said = choice["delta"]
        written.role = said.get("role") or written.role
        if text := said.get("content"):
            written.text.append(text)
        if reasoning := said.get("reasoning"):
            written.reasoning.append(reasoning)

    def choice(self, index: int, written: Written) -> dict[str, Any]:
        """As OpenAI has it, and with the model's thoughts where there are some: then an empty text is none."""
        message = {
            "role": written.role,
            "content": "".join(written.text) or (None if written.reasoning else ""),
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
        }
        if written.reasoning:
            message["reasoning"] = "".join(written.reasoning)
        if written.finish_reason == "tool_calls":
            written.finish_reason = "stop"
        scores = None if written.scores is None else orjson.Fragment(_joined(written.scores))
        written.scores = None  # there may be a hundred megabytes
        return {"index": index, "message": message, "logprobs": scores, **self.ending(written)}


def _joined(scores: list[bytes]) -> bytes:
    """Those of all chunks, in one. Raises `EngineBroke`."""
    if not all(one.startswith(_BEGINS) and one.endswith(_ENDS) for one in scores):
        raise EngineBroke("the engine's log-probabilities cannot be understood")
    inner = (one[len(_BEGINS) : -len(_ENDS)] for one in scores)
    return b"%b%b%b" % (_BEGINS, b",".join(one for one in inner if one), _ENDS)
