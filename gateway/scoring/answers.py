"""The text of an engine's answer, of its bytes. For the child: it imports nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

DATA = b"data: "


@dataclass(slots=True)
class Choice:
    """One choice of an answer."""

    parts: list[str] = field(default_factory=list)
    refusal: str = ""
    """What a model says that has a field of its own for it."""
    calls_tools: bool = False
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.parts)


def choices_of(data: bytes, *, streamed: bool) -> list[Choice]:
    """The choices of a chat or a completion, in one document or as the events of a stream. Raises `ValueError` for what
    cannot be understood.
    """
    found: dict[int, Choice] = {}
    try:
        for document in _events(data) if streamed else [orjson.loads(data)]:
            for said in document["choices"]:
                _take(found.setdefault(said["index"], Choice()), said)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no answer that is known") from error
    return [found[index] for index in sorted(found)]


def _events(data: bytes) -> Iterator[dict[str, Any]]:
    for event in data.split(b"\n\n"):
        if event.startswith(DATA + b"{"):
            yield orjson.loads(event[len(DATA) :])


def _take(choice: Choice, said: dict[str, Any]) -> None:
    spoken = said.get("delta") or said.get("message") or {}
    text = said.get("text") if "text" in said else spoken.get("content")
    if text:
        choice.parts.append(text)
    choice.refusal += spoken.get("refusal") or ""
    choice.calls_tools = choice.calls_tools or bool(spoken.get("tool_calls") or spoken.get("function_call"))
    choice.finish_reason = said.get("finish_reason") or choice.finish_reason
