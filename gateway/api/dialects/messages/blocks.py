"""Which block of an answer what a model says stands in. One block is open at a time."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import orjson

from gateway.api.dialects.chat_stream import CallDelta, Delta
from gateway.handoffs import EngineBroke

Kind = Literal["text", "thinking", "tool_use"]


class Sink(Protocol):
    """Where blocks go: into events, or into a document."""

    def begin(self, index: int, block: dict[str, Any]) -> None:
        """A block, in which nothing is yet."""

    def more(self, index: int, kind: Kind, piece: str) -> None:
        """Some more of the open block: text, thoughts, or JSON of a call's input."""

    def end(self, index: int, kind: Kind) -> None:
        """All of the open block was said."""


class Blocks:
    """Puts what is said into blocks, in the order in which it is said.

    What is said within a call stands behind it: some parsers of calls let text through before a call is whole.
    """

    __slots__ = ("_behind", "_call", "_index", "_input", "_open", "_sink")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._open: Kind | None = None
        self._index = -1
        self._call = -1
        self._input: list[str] = []
        self._behind: list[str] = []

    @property
    def called(self) -> bool:
        """Whether a tool was called."""
        return self._call >= 0

    @property
    def call_is_whole(self) -> bool:
        """Whether the last call's input was said to its end: only the last one can have been cut."""
        return self.called and is_object("".join(self._input))

    def take(self, delta: Delta) -> None:
        """What is said next. Raises `EngineBroke` for calls that make no sense."""
        if delta.reasoning:
            self._say("thinking", delta.reasoning)
        if delta.text:
            if self._open == "tool_use":
                self._behind.append(delta.text)
            else:
                self._say("text", delta.text)
        for call in delta.calls:
            self._take_call(call)

    def close(self) -> None:
        """Nothing more is said. An answer has one block at least: an empty text, if nothing was said."""
        self._end()
        if self._index < 0:
            self._begin({"type": "text", "text": ""})
            self._end()

    def _say(self, kind: Kind, piece: str) -> None:
        if self._open != kind:
            self._end()
            self._begin({"type": kind, kind: ""} if kind == "text" else {"type": kind, kind: "", "signature": ""})
        self._sink.more(self._index, kind, piece)

    def _take_call(self, call: CallDelta) -> None:
        if call.number != self._call:
            if call.number < self._call or not call.id or not call.name:
                raise EngineBroke("the engine's calls of tools cannot be understood")
            self._end()
            self._call, self._input = call.number, []
            self._begin({"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
        if call.arguments:
            if self._open != "tool_use":
                raise EngineBroke("the engine's calls of tools cannot be understood")
            self._input.append(call.arguments)
            self._sink.more(self._index, "tool_use", call.arguments)

    def _begin(self, block: dict[str, Any]) -> None:
        self._index += 1
        self._open = block["type"]
        self._sink.begin(self._index, block)

    def _end(self) -> None:
        if self._open is not None:
            self._sink.end(self._index, self._open)
            self._open = None
        behind, self._behind = "".join(self._behind), []
        if behind.strip():
            self._say("text", behind)
            self._end()


def is_object(written: str) -> bool:
    """Whether the JSON of a call's input is whole; none at all is a call without arguments."""
    try:
        return type(orjson.loads(written or "{}")) is dict
    except orjson.JSONDecodeError:
        return False


_EVENT = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%%d,"delta":{"type":"%b","%b":%%b}}\n\n'
)
_DELTA: dict[Kind, bytes] = {
    "text": _EVENT % (b"text_delta", b"text"),
    "thinking": _EVENT % (b"thinking_delta", b"thinking"),
    "tool_use": _EVENT % (b"input_json_delta", b"partial_json"),
}
_SIGNATURE = _EVENT % (b"signature_delta", b"signature")
_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'


class Events:
    """Blocks as events of a stream."""

    __slots__ = ("_said", "_signature")

    def __init__(self, signature: str) -> None:
        self._said: list[bytes] = []
        self._signature = signature

    def taken(self) -> bytes:
        """The events since the last time."""
        said, self._said = self._said, []
        return b"".join(said)

    def say(self, name: bytes, document: dict[str, Any]) -> None:
        """An event of any kind."""
        self._said.append(b"event: %b\ndata: %b\n\n" % (name, orjson.dumps(document)))

    def begin(self, index: int, block: dict[str, Any]) -> None:
        """Its start."""
        self.say(b"content_block_start", {"type": "content_block_start", "index": index, "content_block": block})

    def more(self, index: int, kind: Kind, piece: str) -> None:
        """A delta."""
        self._said.append(_DELTA[kind] % (index, orjson.dumps(piece)))

    def end(self, index: int, kind: Kind) -> None:
        """Its stop; thoughts are signed before."""
        if kind == "thinking":
            self._said.append(_SIGNATURE % (index, orjson.dumps(self._signature)))
        self._said.append(_STOP % index)


class Content:
    """Blocks as the content of a document."""

    __slots__ = ("_pieces", "_signature", "blocks")

    def __init__(self, signature: str) -> None:
        self.blocks: list[dict[str, Any]] = []
        self._pieces: list[str] = []
        self._signature = signature

    def begin(self, index: int, block: dict[str, Any]) -> None:
        """It is filled when all of it is there."""
        self.blocks.append(block)
        self._pieces = []

    def more(self, index: int, kind: Kind, piece: str) -> None:
        """Kept."""
        self._pieces.append(piece)

    def end(self, index: int, kind: Kind) -> None:
        """The input of a call that was cut is empty: nobody can run it."""
        block, said = self.blocks[-1], "".join(self._pieces)
        if kind == "tool_use":
            block["input"] = orjson.loads(said or "{}") if is_object(said) else {}
            return
        block[kind] = said
        if kind == "thinking":
            block["signature"] = self._signature
