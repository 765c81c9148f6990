"""What an answer says, read from the bytes that its client got."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from registry.shadows.pairs import AnswerText

DATA = b"data: "
MOST_TEXT_CHARS = 200_000
"""Of an answer's text that is compared and kept."""


@dataclass(frozen=True, slots=True)
class Read:
    """An answer as it was read; `finish_reason` is its first choice's, in the words of its endpoint."""

    said: AnswerText
    finish_reason: str | None


@dataclass(slots=True)
class _Reading:
    texts: dict[int, list[str]] = field(default_factory=dict)
    """By choice."""
    calls: dict[Any, list[str]] = field(default_factory=dict)
    """By choice and number: the name, then pieces of the arguments."""
    finish: str | None = None

    def text(self, piece: Any, choice: int = 0) -> None:
        if isinstance(piece, str) and piece:
            self.texts.setdefault(choice, []).append(piece)

    def call(self, key: Any, name: Any, arguments: Any) -> None:
        pieces = self.calls.setdefault(key, [""])
        pieces[0] += name if isinstance(name, str) else ""
        if isinstance(arguments, str):
            pieces.append(arguments)

    def done(self) -> Read:
        text = "\n".join("".join(pieces) for _, pieces in sorted(self.texts.items()))
        calls = (f"{name}({''.join(arguments)})" for _, (name, *arguments) in sorted(self.calls.items(), key=str))
        return Read(AnswerText(text[:MOST_TEXT_CHARS], tuple(one[:MOST_TEXT_CHARS] for one in calls)), self.finish)


def read_answer(endpoint: str, data: bytes, *, stream: bool) -> Read:
    """The text and calls of an answer, as far as there is one. Raises `ValueError` for what is no JSON."""
    reading, see = _Reading(), _READERS[endpoint]
    for part in _events(data) if stream else (orjson.loads(data),):
        if isinstance(part, Mapping):
            see(reading, part)
    return reading.done()


def _events(data: bytes) -> Iterator[Any]:
    for line in data.splitlines():
        if line.startswith(DATA) and line != b"data: [DONE]":
            yield orjson.loads(line[len(DATA) :])


def _chat(reading: _Reading, part: Mapping[str, Any]) -> None:
    for choice in part.get("choices") or ():
        index, message = choice.get("index", 0), choice.get("delta") or choice.get("message") or {}
        reading.text(message.get("content"), index)
        for number, call in enumerate(message.get("tool_calls") or ()):
            function = call.get("function") or {}
            reading.call((index, call.get("index", number)), function.get("name"), function.get("arguments"))
        if index == 0:
            reading.finish = choice.get("finish_reason") or reading.finish


def _completion(reading: _Reading, part: Mapping[str, Any]) -> None:
    for choice in part.get("choices") or ():
        reading.text(choice.get("text"), choice.get("index", 0))
        if choice.get("index", 0) == 0:
            reading.finish = choice.get("finish_reason") or reading.finish


def _message(reading: _Reading, part: Mapping[str, Any]) -> None:
    for number, block in enumerate(part.get("content") or ()):
        reading.text(block.get("text"))
        if block.get("type") == "tool_use":
            reading.call(number, block.get("name"), orjson.dumps(block.get("input")).decode())
    block, delta = part.get("content_block") or {}, part.get("delta") or {}
    if block.get("type") == "tool_use":
        reading.call(part.get("index"), block.get("name"), None)
    reading.text(delta.get("text"))
    if "partial_json" in delta:
        reading.call(part.get("index"), None, delta["partial_json"])
    reading.finish = delta.get("stop_reason") or part.get("stop_reason") or reading.finish


def _response(reading: _Reading, part: Mapping[str, Any]) -> None:
    """Only of the whole document, which ends its stream too."""
    document = part.get("response") if "response" in part else part
    if not isinstance(document, Mapping) or document.get("status") not in ("completed", "incomplete"):
        return
    for number, item in enumerate(document.get("output") or ()):
        for piece in item.get("content") or ():
            reading.text(piece.get("text"))
        if item.get("type") == "function_call":
            reading.call(number, item.get("name"), item.get("arguments"))
    why = (document.get("incomplete_details") or {}).get("reason")
    reading.finish = why or document["status"]


_READERS = {"chat": _chat, "completions": _completion, "messages": _message, "responses": _response}
READABLE = frozenset(_READERS)
"""Endpoints whose answers are texts; requests to others are not copied."""
