"""An engine's stream of OpenAI's chunks, for dialects that make something else of it: parsed, its counts taken in."""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.handoffs import EngineBroke, EngineCount, EngineLied, InferenceRequest
from gateway.sealed_request import with_fields

EVENT_END = b"\n\n"
DATA = b"data: "
DONE = b"data: [DONE]\n\n"
_DONE = DONE.removesuffix(EVENT_END)
FAILED = b'data: {"error"'
BROKEN_OFF = re.compile(rb'"finish_reason":"(?:abort|error)"')
"""An answer ends so when its engine gave it up: it is paused, stopped or out of order, and the answer is none."""
_ODD = (b":", FAILED)
_NEXT_IS_ODD = re.compile(rb'\n\n(?::|data: \{"error")')
"""A comment or a failure: there are none in nearly every block, and each costs a look at all of it."""
ADDS_TEXT = re.compile(
    rb'(?P<before>data: \{"id":"[^"\\]*","object":"chat\.completion\.chunk","created":[0-9]+,"model":")'
    rb'(?P<model>[^"\\]*)(?P<said>","choices":\[\{"index":0,"delta":\{"content":(?P<text>"[^"\\\n]*(?:\\.[^"\\\n]*)*")\},'
    rb'"logprobs":null,"finish_reason":null)(?:,"token_ids":null)?\}\],"usage":\{"prompt_tokens":(?P<read>[0-9]{1,12}),'
    rb'"total_tokens":[0-9]+,"completion_tokens":(?P<written>[0-9]{1,12})(?:,"completion_tokens_details":null)?\}\}\n\n'
)
"""An event that adds some text to a chat's one answer and does nothing else, as vLLM writes it: nearly every one is so.
To read it as JSON takes twice as long, and to look for all that it does not have, three times.
"""
COMMENT = re.compile(rb"(?:\A|(?<=\n\n)):[^\n]*\n\n")
"""The engine's own sign of life, which is not a part of its answer."""
STREAM_INTERVAL_TOKENS = 16
"""How many tokens make a chunk of a stream that is assembled here: so many are the most that are made for an answer
whose client has gone and that nobody counts.
"""
UNREADABLE = (orjson.JSONDecodeError, KeyError, TypeError, IndexError, AttributeError)
"""What is raised by reading JSON that is not what an engine says."""
NOT_UNDERSTOOD = "the engine's events cannot be understood"
COUNTED_STREAM: dict[str, Any] = {
    "stream": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
}
"""What is asked of an engine for a stream in which every event has the count so far."""
ASSEMBLED_STREAM = {**COUNTED_STREAM, "stream_interval": STREAM_INTERVAL_TOKENS}
"""Likewise, for one whose client gets it in one piece."""


def counted_stream(request: InferenceRequest) -> InferenceRequest:
    """A request for an answer in one piece, asked for as a stream that is put together here; the same request where
    that says something else: vLLM (0.32) shows log-probabilities of a prompt in documents only, and where there are
    tools, what is text and what a call depends on how it comes.
    """
    if request.stream or request.needs or "tools" in request.body:
        return request
    return with_fields(request, **ASSEMBLED_STREAM)._replace(assembled=True)


def good_events(block: bytes) -> tuple[bytes, bytes | None]:
    """A block of whole events without comments, up to one that says that the engine failed; and that one."""
    if not (block.startswith(_ODD) or _NEXT_IS_ODD.search(block) or BROKEN_OFF.search(block)):
        return block, None
    failure = None
    if FAILED in block or BROKEN_OFF.search(block):
        block, failure = _cut_at_failure(block)
    if block[:1] == b":" or b"\n\n:" in block:
        block = COMMENT.sub(b"", block)
    return block, failure


def added_texts(block: bytes, engine_name: bytes, public_name: bytes, count: EngineCount) -> bytes | None:
    """Events that only add text, as a client gets them who sees no counts: the last count is taken in. `None`: there is
    something else among them, and nothing was done. Raises `EngineLied`.
    """
    events, at, read, written = [], 0, b"", b""
    while found := ADDS_TEXT.match(block, at):
        before, model, said, read, written = found.group("before", "model", "said", "read", "written")
        if model != engine_name:
            raise other_model()
        events.append(b"%b%b%b}]}\n\n" % (before, public_name, said))
        at = found.end()
    if not events or at < len(block):
        return None
    count.so_far(int(read), int(written))
    return events[0] if len(events) == 1 else b"".join(events)


def other_model() -> EngineLied:
    """What is said of an answer that does not name the model that was asked."""
    return EngineLied("other_model", "the engine's answer is not signed with the name of the model that was asked")


def _cut_at_failure(block: bytes) -> tuple[bytes, bytes | None]:
    kept = b""
    for event in block.split(EVENT_END)[:-1]:
        if event.startswith(FAILED) or BROKEN_OFF.search(event):
            return kept, event
        kept += event + EVENT_END
    return kept, None


class EngineChunks:
    """Reads the stream of one answer, which has `choices` choices to each prompt."""

    __slots__ = ("_choices", "_count", "complete", "fingerprint", "usage")

    def __init__(self, count: EngineCount, choices_per_prompt: int = 1) -> None:
        self._count = count
        self._choices = choices_per_prompt
        self.complete = False
        """Whether the end of the stream came."""
        self.usage: dict[str, Any] | None = None
        """The engine's final count, as it wrote it."""
        self.fingerprint: str | None = None
        """What the engine calls its own configuration."""

    def read(self, block: bytes) -> tuple[list[dict[str, Any]], bytes | None]:
        """The chunks of a block of whole events that have choices, without their counts, which are taken in; and the
        event that says that the engine failed, if there is one.

        Raises `EngineBroke` for what cannot be understood.
        """
        block, failure = good_events(block)
        chunks = []
        try:
            for event in block.split(EVENT_END)[:-1]:
                if (chunk := self.chunk_of(event)) is not None:
                    chunks.append(chunk)
        except UNREADABLE as error:
            raise EngineBroke(NOT_UNDERSTOOD) from error
        return chunks, failure

    def chunk_of(self, event: bytes) -> dict[str, Any] | None:
        """What a good event has beside its count, which is taken in; `None`: nothing. Raises one of `UNREADABLE`."""
        if event == _DONE:
            self.complete = True
            return None
        chunk = self.parsed(event.removeprefix(DATA))
        return chunk if self._take_count(chunk) else None

    def parsed(self, data: bytes) -> dict[str, Any]:
        """One chunk. Raises `orjson.JSONDecodeError`."""
        chunk: dict[str, Any] = orjson.loads(data)
        return chunk

    def _take_count(self, chunk: dict[str, Any]) -> bool:
        """Whether there is more in a chunk than a count."""
        choices, usage = chunk["choices"], chunk.pop("usage", None)
        if not choices:
            if usage is not None:
                self._count.final(usage)
                self.usage = usage
                self.fingerprint = chunk.get("system_fingerprint")
            return False
        if usage is not None:
            index = choices[0]["index"]
            self._count.running(usage, index, index // self._choices)
        return True
