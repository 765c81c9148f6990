"""The items of an answer as they come into being, and the events that tell of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Literal

import orjson

Ended = Literal["completed", "incomplete"]


def message_item(id_: str, status: str, text: str, logprobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the model says, as it stands in a response; without its part while that is not there."""
    content = [_text_part(text, logprobs)] if status != "in_progress" else []
    return {"id": id_, "type": "message", "status": status, "content": content, "role": "assistant"}


def _text_part(text: str, logprobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": logprobs, "text": text}


def reasoning_item(id_: str, status: str, text: str) -> dict[str, Any]:
    """What the model thinks, likewise."""
    content = [_thought_part(text)] if status != "in_progress" else []
    return {"id": id_, "type": "reasoning", "status": status, "summary": [], "content": content}


def _thought_part(text: str) -> dict[str, Any]:
    return {"type": "reasoning_text", "text": text}


def call_item(id_: str, status: str, arguments: str, call_id: str, name: str) -> dict[str, Any]:
    """A call of one of the client's functions, likewise."""
    return {
        "id": id_,
        "type": "function_call",
        "status": status,
        "arguments": arguments,
        "call_id": call_id,
        "name": name,
    }


_NUMBERED = b',"sequence_number":%d}\n\n'
_EVENT, _GROWN, _SAID = b"%b" + _NUMBERED, b"%b%b" + _NUMBERED, b'%b%b,"logprobs":%b' + _NUMBERED
"""Of any kind; of more of an item; of more text."""


class Events:
    """Numbers the events of one stream."""

    __slots__ = ("number",)

    def __init__(self, first: int = 0) -> None:
        self.number = count(first).__next__
        """The next event's."""

    def event(self, kind: bytes, fields: bytes) -> bytes:
        """One event with these fields, of a JSON object without its braces."""
        return _EVENT % (begun(kind, fields), self.number())


def begun(kind: bytes, fields: bytes) -> bytes:
    """The beginning of an event."""
    return b'event: %b\ndata: {"type":"%b",%b' % (kind, kind, fields)


class OutputItem(ABC):
    """One item of an answer. Its methods return the events of what they do; where nobody is told of them, more of it is
    only taken in.
    """

    __slots__ = ("_at", "_begins", "_events", "_index", "_pieces", "id")
    prefix: str
    """Of its id."""
    grows: bytes
    """What its events are called that tell of more of it."""
    within = b""
    """Where in it that is."""

    def __init__(self, events: Events, request_id: str, index: int) -> None:
        self._events = events
        self._index = index
        self._pieces: list[str] = []
        self.id = f"{self.prefix}_{request_id}{index:02x}"
        self._at = self._begins = b""
        """What events say of where it is, and how those of more of it begin."""

    def begin(self) -> bytes:
        """It is there; asked for before any other event."""
        self._at = b'"item_id":"%b","output_index":%d%b' % (self.id.encode(), self._index, self.within)
        self._begins = begun(b"response.%b.delta" % self.grows, b'%b,"delta":' % self._at)
        return self._item(b"added", "in_progress")

    def take(self, text: str) -> None:
        """Some more of it."""
        self._pieces.append(text)

    @abstractmethod
    def as_dict(self, status: str) -> dict[str, Any]:
        """As it stands in a response."""

    def _item(self, kind: bytes, status: str) -> bytes:
        fields = b'"output_index":%d,"item":%b' % (self._index, orjson.dumps(self.as_dict(status)))
        return self._events.event(b"response.output_item.%b" % kind, fields)


class _Part(OutputItem):
    """An item with one part of text."""

    __slots__ = ()
    within = b',"content_index":0'

    @abstractmethod
    def part(self) -> dict[str, Any]:
        """The part as far as it came."""

    def begin(self) -> bytes:
        """With its part."""
        return super().begin() + self._part(b"added")

    def _part(self, kind: bytes) -> bytes:
        fields = b'%b,"part":%b' % (self._at, orjson.dumps(self.part()))
        return self._events.event(b"response.content_part.%b" % kind, fields)

    def end(self, status: Ended) -> bytes:
        """It is whole, or no more of it comes."""
        fields = b'%b,"text":%b%b' % (self._at, orjson.dumps("".join(self._pieces)), self._more())
        told = self._events.event(b"response.%b.done" % self.grows, fields)
        return told + self._part(b"done") + self._item(b"done", status)

    def _more(self) -> bytes:
        return b""


class Message(_Part):
    """What the model says."""

    __slots__ = ("_logprobs",)
    prefix = "msg"
    grows = b"output_text"

    def __init__(self, events: Events, request_id: str, index: int) -> None:
        super().__init__(events, request_id, index)
        self._logprobs: list[dict[str, Any]] = []

    def take_scored(self, text: str, logprobs: Sequence[dict[str, Any]]) -> None:
        """Some more text, and the log-probabilities of its tokens as chats have them."""
        self._pieces.append(text)
        if logprobs:
            self._logprobs += logprobs

    def add(self, text: str, logprobs: Sequence[dict[str, Any]]) -> bytes:
        """Likewise."""
        self.take_scored(text, logprobs)
        scores = orjson.dumps(_scores(logprobs)) if logprobs else b"[]"
        return _SAID % (self._begins, orjson.dumps(text), scores, self._events.number())

    def part(self) -> dict[str, Any]:
        """The text so far."""
        return _text_part("".join(self._pieces), self._logprobs)

    def as_dict(self, status: str) -> dict[str, Any]:
        """With its part, once that is there."""
        return message_item(self.id, status, "".join(self._pieces), self._logprobs)

    def _more(self) -> bytes:
        return b',"logprobs":%b' % orjson.dumps(_scores(self._logprobs))


def _scores(logprobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As events have them, which is without bytes."""
    return [
        {
            "token": one["token"],
            "logprob": one["logprob"],
            "top_logprobs": [
                {"token": other["token"], "logprob": other["logprob"]} for other in one.get("top_logprobs") or ()
            ],
        }
        for one in logprobs
    ]


class Reasoning(_Part):
    """What the model thinks. `seal` makes what its client may carry, where that is wanted."""

    __slots__ = ("_seal", "_sealed")
    prefix = "rs"
    grows = b"reasoning_text"

    def __init__(self, events: Events, request_id: str, index: int, seal: Callable[[str], str] | None = None) -> None:
        super().__init__(events, request_id, index)
        self._seal = seal
        self._sealed: str | None = None

    def add(self, text: str) -> bytes:
        """Some more thoughts."""
        self.take(text)
        return _GROWN % (self._begins, orjson.dumps(text), self._events.number())

    def part(self) -> dict[str, Any]:
        """The text so far."""
        return _thought_part("".join(self._pieces))

    def as_dict(self, status: str) -> dict[str, Any]:
        """With its part, once that is there."""
        text = "".join(self._pieces)
        item = reasoning_item(self.id, status, text)
        if self._seal is not None and status != "in_progress":
            if self._sealed is None:  # once: each time it would be another text
                self._sealed = self._seal(text)
            item["encrypted_content"] = self._sealed
        return item


class FunctionCall(OutputItem):
    """A call of one of the client's functions."""

    __slots__ = ("_name", "call_id", "number")
    prefix = "fc"
    grows = b"function_call_arguments"

    def __init__(
        self, events: Events, request_id: str, index: int, *, number: int, call_id: str | None, name: str
    ) -> None:
        """`number` is which of the answer's calls it is, as the engine counts them."""
        super().__init__(events, request_id, index)
        self.number = number
        self.call_id = call_id or f"call_{request_id}{index:02x}"
        self._name = name

    def add(self, arguments: str) -> bytes:
        """Some more of its arguments."""
        self.take(arguments)
        return _GROWN % (self._begins, orjson.dumps(arguments), self._events.number())

    def end(self, status: Ended) -> bytes:
        """It is whole, or no more of it comes."""
        fields = b'%b,"arguments":%b' % (self._at, orjson.dumps("".join(self._pieces)))
        told = self._events.event(b"response.function_call_arguments.done", fields)
        return told + self._item(b"done", status)

    def as_dict(self, status: str) -> dict[str, Any]:
        """With its arguments, once they are there."""
        arguments = "".join(self._pieces) if status != "in_progress" else ""
        return call_item(self.id, status, arguments, self.call_id, self._name)
