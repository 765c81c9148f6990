"""What dialects of OpenAI in which a model writes have in common: how much, streamed or not, and what it says of use.

The engine is always asked for its count in every event of a stream, so that one which breaks off, or whose client
goes, has the count of what was relayed. Clients see as much of it as they asked for, and those who asked for the
cost see that too: the ledger's own figure, unless the engine breaks off behind its count, which makes it free.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.api.dialects.assembly import Assembly
from gateway.api.dialects.cost import cost_of
from gateway.api.dialects.dialect import Dialect
from gateway.api.dialects.engine_events import (
    BROKEN_OFF,
    COUNTED_STREAM,
    DONE,
    EVENT_END,
    NOT_UNDERSTOOD,
    UNREADABLE,
    counted_stream,
    good_events,
)
from gateway.api.fields.caps import Caps
from gateway.api.fields.hints import conversation_of, is_batch, shows_cost, user_of
from gateway.api.fields.needs import needs_of
from gateway.api.fields.settled import settle
from gateway.errors import ApiError
from gateway.handoffs import Admitted, AnswerReader, EngineBroke, EngineCount, EngineLied, InferenceRequest, ShownUsage

USAGE_BEGINS = b',"usage":{'
USAGE = re.compile(rb',"usage":(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
RUNNING_USAGE = re.compile(
    rb',"usage":\{"prompt_tokens":([0-9]{1,12}),"total_tokens":[0-9]+,"completion_tokens":([0-9]{1,12})'
    rb'(?:,"completion_tokens_details":null)?\}'
)
"""As vLLM writes it within a stream: parsed as JSON it would take twice as long."""
MALFORMED = "the engine's count of tokens cannot be understood"
NO_CHOICES = b'"choices":[]'
"""Only in the event with the final usage."""

SHORTLY: Mapping[str, Any] = {"max_tokens": 2, "temperature": 0}
"""How a question of ours is to be answered."""


class Generation(Dialect):
    """A dialect whose answers are choices and a count of tokens."""

    assembly: type[Assembly]
    """What makes a document of a stream."""

    def request(
        self, model: str, given: Mapping[str, Any], body: dict[str, Any], body_bytes: int, caps: Caps
    ) -> InferenceRequest:
        """With a stream's usage asked for."""
        settle(body)
        stream = body.pop("stream", False)
        with_cost = shows_cost(given)
        shows_usage: ShownUsage = "at the end" if stream and with_cost else "never"
        if stream:
            asked = body.get("stream_options") or {}
            if asked.get("include_usage"):
                shows_usage = "always" if asked.get("continuous_usage_stats") else "at the end"
            body |= COUNTED_STREAM
        return InferenceRequest(
            self,
            model,
            stream,
            shows_usage,
            body.get("max_completion_tokens") or body.get("max_tokens", self.default_output_tokens),
            body,
            conversation_of(given),
            user_of(given),
            self.choices(body),
            needs_of(body),
            with_cost,
            body_bytes=body_bytes,
            metadata=given.get("metadata"),
            batch=is_batch(given),
        )

    def choices(self, body: Mapping[str, Any]) -> int:
        """How many answers a checked body asks for."""
        answers: int = body.get("n", 1)
        return answers

    def counted(self, request: InferenceRequest) -> InferenceRequest:
        """As a stream, where that says the same."""
        return counted_stream(request)

    def reader(self, admitted: Admitted, count: EngineCount) -> AnswerReader:
        """Of the one grammar that they share."""
        if admitted.request.assembled:
            return self.assembly(admitted, count)
        return GenerationReader(admitted, count)


class GenerationReader:
    """Takes the count of tokens in, and shows of it what was asked for.

    vLLM writes compact JSON and escapes quotes inside strings, so `,"usage":{` with bare quotes can only be the field
    itself: cutting it out needs no parsing.
    """

    __slots__ = ("_admitted", "_count", "_request", "complete")

    def __init__(self, admitted: Admitted, count: EngineCount) -> None:
        self._admitted = admitted
        self._request = admitted.request
        self._count = count
        self.complete = False

    def document(self, data: bytes) -> bytes:
        """With its cost, if that was asked for. Raises `EngineBroke`."""
        if BROKEN_OFF.search(data):
            raise EngineBroke("the engine gave its answer up")
        last = data.rfind(USAGE_BEGINS)
        found = USAGE.match(data, last)  # with log-probabilities, parsing all of it takes seconds
        if found is None:
            raise EngineLied("usage_missing", "the engine's answer has no count of tokens")
        if data.find(USAGE_BEGINS) != last:
            raise EngineLied("usage_twice", "the engine's answer has two counts of tokens")
        self._count.final(_parsed(found[1]))
        return self._with_cost(data) if self._request.shows_cost else data

    def events(self, block: bytes) -> tuple[bytes, bytes | None]:
        """Without comments, and with as much of the counts as the client asked for. Raises `EngineBroke`."""
        block, failure = good_events(block)
        if (last := block.rfind(USAGE_BEGINS)) >= 0:
            block = self._see_running_usage(block, last)
        self.complete = block.endswith(DONE) or self.complete
        return block, failure

    def rest(self) -> bytes:
        """Nothing: all of it was relayed."""
        return b""

    def failed(self, error: ApiError) -> bytes:
        """As dialects of OpenAI's say it."""
        return self._request.dialect.error_event(error)

    def _see_running_usage(self, block: bytes, last: int) -> bytes:
        """Take the counts of a block of events in, of which the last begins at `last`; return the block with as much of
        them as the client asked for.

        Raises `EngineBroke` for what is no count.
        """
        request = self._request
        if request.choices == 1 and NO_CHOICES not in block:
            if found := RUNNING_USAGE.match(block, last):
                self._count.so_far(int(found[1]), int(found[2]))
            elif found := USAGE.match(block, last):
                self._count.running(_parsed(found[1]))
            else:
                raise EngineLied("usage_malformed", MALFORMED)
            if request.shows_usage == "always":
                return block
            if block.find(USAGE_BEGINS) < last:
                return USAGE.sub(b"", block)
            return block[:last] + block[found.end() :]
        try:
            return b"".join(self._see_event(event + EVENT_END) for event in block.split(EVENT_END)[:-1])
        except UNREADABLE as error:
            raise EngineBroke(NOT_UNDERSTOOD) from error

    def _see_event(self, event: bytes) -> bytes:
        found = USAGE.search(event)
        if found is None:
            return event
        request = self._request
        if NO_CHOICES in event:
            self._count.final(_parsed(found[1]))
            if request.shows_cost:
                return self._with_cost(event)
            return event if request.shows_usage != "never" else b""
        index = 0 if request.choices == 1 else orjson.loads(event.removeprefix(b"data: "))["choices"][0]["index"]
        self._count.running(_parsed(found[1]), index, index // (request.body.get("n") or 1))
        return event if request.shows_usage == "always" else USAGE.sub(b"", event)

    def _with_cost(self, data: bytes) -> bytes:
        """The document or event with the final usage, and in it what that costs; null when no price is in force."""
        found = USAGE.search(data)
        if found is None:
            raise EngineLied("usage_malformed", MALFORMED)
        end = found.end() - 1
        return b'%b,"cost":%b%b' % (data[:end], cost_of(self._admitted, self._count), data[end:])


def _parsed(usage: bytes) -> Any:
    try:
        return orjson.loads(usage)
    except orjson.JSONDecodeError:
        raise EngineLied("usage_malformed", MALFORMED) from None
