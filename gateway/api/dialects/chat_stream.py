"""What a chat's stream says, a step at a time, for dialects that say it in their own way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from gateway.api.dialects.engine_events import (
    ADDS_TEXT,
    BROKEN_OFF,
    EVENT_END,
    NOT_UNDERSTOOD,
    UNREADABLE,
    EngineChunks,
    good_events,
)
from gateway.handoffs import EngineBroke, EngineCount

ENDLESS = "the engine's answer has no end, or several"


class CallDelta(NamedTuple):
    """Some more of one call of a tool."""

    number: int
    """Which of the answer's calls, from 0."""
    id: str | None
    """With the first of it."""
    name: str | None
    """With the first of it."""
    arguments: str


class Delta(NamedTuple):
    """Some more of the answer."""

    text: str
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()
    logprobs: Sequence[dict[str, Any]] = ()
    """Of the tokens of `text`, as chat has them: `token`, `logprob`, `bytes`, `top_logprobs`."""
    finish_reason: str | None = None
    """With the last of it: `stop`, `length`, `tool_calls` or `content_filter`."""
    stop_reason: str | int | None = None
    """What made it stop: one of the request's stop texts, the id of a token, or its natural end."""


class ChatStream(EngineChunks):
    """Reads the stream of a chat with one answer."""

    __slots__ = ("_ended",)

    def __init__(self, count: EngineCount) -> None:
        super().__init__(count)
        self._ended = False
        """Whether the engine has said why its answer ended."""

    def deltas(self, block: bytes) -> tuple[list[Delta], bytes | None]:
        """What a block of whole events adds; and the event that says that the engine failed, if there is one.

        Raises `EngineBroke` for what cannot be understood.
        """
        deltas: list[Delta] = []
        failure = None
        try:
            at = self._texts(block, 0, deltas)
            if at < len(block):
                block, failure = good_events(block[at:])
                at = self._texts(block, 0, deltas)
            while at < len(block):
                end = block.index(EVENT_END, at)
                if (chunk := self.chunk_of(block[at:end])) is not None:
                    deltas += self._deltas_of(chunk)
                at = self._texts(block, end + len(EVENT_END), deltas)
        except UNREADABLE as error:
            raise EngineBroke(NOT_UNDERSTOOD) from error
        if self.complete and not self._ended:
            raise EngineBroke(ENDLESS)
        return deltas, failure

    def _texts(self, block: bytes, at: int, deltas: list[Delta]) -> int:
        """Read events that add some text, from the one that begins at `at`; where the first one begins that is none.
        Raises `orjson.JSONDecodeError`.
        """
        so_far = self._count.so_far
        while found := ADDS_TEXT.match(block, at):
            text, read, written = found.group("text", "read", "written")
            so_far(int(read), int(written))
            deltas.append(Delta(orjson.loads(text)))
            at = found.end()
        return at

    def _deltas_of(self, chunk: dict[str, Any]) -> list[Delta]:
        deltas = [_delta(choice, choice["delta"]) for choice in chunk["choices"]]
        self._ended = self._ended or any(delta.finish_reason is not None for delta in deltas)
        return deltas

    def whole(self, data: bytes) -> Delta:
        """What an engine's document says, which is all of it at once. Raises `EngineBroke`."""
        delta, self.usage = whole_of(data, self._count)
        self.complete = True
        return delta


def whole_of(data: bytes, count: EngineCount) -> tuple[Delta, dict[str, Any]]:
    """What an engine's document says, and its count as it wrote it, which is taken in. Raises `EngineBroke`."""
    if BROKEN_OFF.search(data):
        raise EngineBroke("the engine gave its answer up")
    try:
        document = orjson.loads(data)
        choices, usage = document["choices"], document.get("usage")
        if len(choices) != 1:
            raise EngineBroke(ENDLESS)
        delta = _delta(choices[0], choices[0]["message"])
        count.final(usage)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise EngineBroke("the engine's answer cannot be understood") from error
    if delta.finish_reason is None:
        raise EngineBroke(ENDLESS)
    return delta, usage


def _delta(choice: dict[str, Any], said: dict[str, Any]) -> Delta:
    """Raises `TypeError`, `KeyError` or `AttributeError` for what is of another type than it must be, or of another
    choice than the one that was asked for: who makes an answer of it looks no more.
    """
    if choice["index"] != 0:
        raise TypeError("there is more than one choice")
    text, reasoning = said.get("content") or "", said.get("reasoning") or said.get("reasoning_content") or ""
    calls, scores, finish_reason = said.get("tool_calls"), choice.get("logprobs"), choice.get("finish_reason")
    if type(text) is not str or type(reasoning) is not str or not (finish_reason is None or type(finish_reason) is str):
        raise TypeError("a delta has something else than text")
    return Delta(
        text,
        reasoning,
        tuple(_call(one, number) for number, one in enumerate(calls)) if calls else (),
        _scores(scores["content"] or []) if scores else (),
        finish_reason,
        choice.get("stop_reason"),
    )


def _call(said: dict[str, Any], number: int) -> CallDelta:
    """Those of a document are in order and have no number."""
    function = said.get("function") or {}
    number, named = said.get("index", number), (said.get("id"), function.get("name"))
    arguments = function.get("arguments") or ""
    if (
        type(number) is not int
        or type(arguments) is not str
        or not all(one is None or type(one) is str for one in named)
    ):
        raise TypeError("a call of a tool has something else than text")
    return CallDelta(number, *named, arguments)


def _scores(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for score in scores:
        for one in (score, *(score.get("top_logprobs") or ())):
            if type(one["token"]) is not str or type(one["logprob"]) not in (float, int):
                raise TypeError("a token has no log-probability")
    return scores
