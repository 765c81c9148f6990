"""What an OpenAI-style answer says, whole or broken off: who answered, the text, and what was wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Answer:
    """`models` are the names in `model`, of every event of a stream. `failure` is None for a whole answer."""

    models: tuple[str, ...]
    text: str
    failure: str | None = None
    proper_error: bool = False
    """A stream that failed said so: an error event, then [DONE]."""


def read_answer(status: int, body: bytes, stream: bool) -> Answer:
    """Read an answer, or the part of one that came before the connection broke. Never raises."""
    if status != 200:
        return Answer((), "", f"HTTP {status}: {body[:300].decode(errors='replace')}")
    try:
        return _read_stream(body) if stream else _read_documents([orjson.loads(body)])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return Answer((), "", f"the answer cannot be read: {type(error).__name__}: {error}")


def _read_stream(body: bytes) -> Answer:
    *lines, rest = body.split(b"\n\n")
    payloads = [line[6:] for line in lines if line.startswith(b"data: ")]
    ended = payloads[-1:] == [b"[DONE]"] and not rest
    answer = _read_documents([orjson.loads(payload) for payload in payloads if payload != b"[DONE]"])
    if ended:
        return Answer(answer.models, answer.text, answer.failure, proper_error=answer.failure is not None)
    return Answer(answer.models, answer.text, answer.failure or "the stream ended without [DONE]")


def _read_documents(documents: list[dict[str, Any]]) -> Answer:
    models: dict[str, None] = {}
    parts: list[str] = []
    finished = False
    for document in documents:
        if "error" in document:
            return Answer(tuple(models), "".join(parts), f"error in the answer: {document['error']}"[:300])
        models[document["model"]] = None
        for choice in document["choices"]:
            said = choice.get("delta") or choice.get("message")
            parts.append((said.get("content") if said else choice.get("text")) or "")
            finished = finished or choice.get("finish_reason") is not None
    return Answer(tuple(models), "".join(parts), None if finished else "the answer has no finish_reason")
