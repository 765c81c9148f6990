"""An engine's chat stream as the events of a response, or as one document: both say the same. What comes in one piece
is read by `whole.py`.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.dialects.chat_stream import CallDelta, ChatStream, Delta
from gateway.api.dialects.responses.document import Document, usage_of
from gateway.api.dialects.responses.output import Ended, Events, FunctionCall, Message, Reasoning
from gateway.errors import ApiError
from gateway.handoffs import Admitted, EngineBroke, EngineCount
from gateway.keeping import Answered

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""What OpenAI calls the reasons for which a chat's answer ends early."""
NOT_UNDERSTOOD = "the engine's calls of tools cannot be understood"


class ResponseReader(ChatStream):
    """Reads one answer."""

    __slots__ = (
        "_admitted",
        "_begun",
        "_behind",
        "_cut",
        "_document",
        "_events",
        "_open",
        "_output",
        "_request_id",
        "_whole",
        "_whole_only",
    )

    def __init__(self, admitted: Admitted, count: EngineCount) -> None:
        super().__init__(count)
        self._admitted = admitted
        self._request_id = admitted.call.request_id
        self._document = Document(admitted)
        self._events = Events()
        self._whole_only = not admitted.request.stream
        """Whether the client is told nothing before the end."""
        self._begun = False
        """Whether it was told that there is a response."""
        self._open: Message | Reasoning | FunctionCall | None = None
        """The item that grows."""
        self._behind: list[Delta] = []
        """What was said within the call that is open."""
        self._output: list[dict[str, Any]] = []
        """Those that have ended."""
        self._cut: str | None = None
        """Why it ended early."""
        self._whole: Answered | None = None

    def document(self, data: bytes) -> bytes:
        """An engine that was asked for a stream sends no other. Raises `EngineBroke`."""
        raise EngineBroke("the engine was asked for a stream and sent none")

    def events(self, block: bytes) -> tuple[bytes, bytes | None]:
        """What a block of the chat's events says, up to one that says that the engine failed. Raises `EngineBroke`."""
        deltas, failure = self.deltas(block)
        told = [self._beginning()] if deltas and not (self._begun or self._whole_only) else []
        for delta in deltas:
            self._take(delta, told)
        return b"" if self._whole_only else b"".join(told), failure

    def _beginning(self) -> bytes:
        self._begun = True
        response = b'"response":%b' % self._document.unfinished("in_progress")
        event = self._events.event
        return event(b"response.created", response) + event(b"response.in_progress", response)

    def _take(self, delta: Delta, told: list[bytes]) -> None:
        if delta.reasoning:
            thinks = self._open
            if type(thinks) is not Reasoning:
                keeping = self._admitted.request.keeping
                seal = None if keeping is None else keeping.seal
                thinks = Reasoning(self._events, self._request_id, self._next(told), seal)
                told.append(self._begin(thinks))
            if self._whole_only:
                thinks.take(delta.reasoning)
            else:
                told.append(thinks.add(delta.reasoning))
        if delta.text:
            if (
                type(self._open) is FunctionCall
            ):  # some parsers let text through before a call is whole: it stands behind
                self._behind.append(delta)
            else:
                self._say(delta, told)
        if delta.calls:
            for call in delta.calls:
                self._take_call(call, told)
        if delta.finish_reason is not None:
            self._cut = INCOMPLETE.get(delta.finish_reason)
            self._end("incomplete" if self._cut else "completed", told)

    def _say(self, delta: Delta, told: list[bytes]) -> None:
        says = self._open
        if type(says) is not Message:
            says = Message(self._events, self._request_id, self._next(told))
            told.append(self._begin(says))
        if self._whole_only:
            says.take_scored(delta.text, delta.logprobs)
        else:
            told.append(says.add(delta.text, delta.logprobs))

    def _take_call(self, call: CallDelta, told: list[bytes]) -> None:
        calls = self._open
        if type(calls) is not FunctionCall or calls.number != call.number:
            if not call.name:
                raise EngineBroke(NOT_UNDERSTOOD)
            index = self._next(told)
            calls = FunctionCall(
                self._events, self._request_id, index, number=call.number, call_id=call.id, name=call.name
            )
            told.append(self._begin(calls))
        if self._whole_only:
            calls.take(call.arguments)
        elif call.arguments:
            told.append(calls.add(call.arguments))

    def _next(self, told: list[bytes]) -> int:
        """The place of the next item; the one before has ended."""
        self._end("completed", told)
        return len(self._output)

    def _begin(self, item: Message | Reasoning | FunctionCall) -> bytes:
        self._open = item
        return b"" if self._whole_only else item.begin()

    def _end(self, status: Ended, told: list[bytes]) -> None:
        item, self._open = self._open, None
        if item is not None:
            if not self._whole_only:
                told.append(item.end(status))
            self._output.append(item.as_dict(status))
        behind, self._behind = self._behind, []
        if any(delta.text.strip() for delta in behind):
            for delta in behind:
                self._say(delta, told)
            self._end(status, told)

    def answered(self) -> Answered:
        """The whole answer."""
        if self._whole is None:
            told: list[bytes] = []
            self._end("completed", told)
            status: Ended = "incomplete" if self._cut else "completed"
            usage = usage_of(self._admitted, self._count, self.usage)
            document = self._document.ended(status, orjson.dumps(self._output), usage, reason=self._cut)
            self._whole = Answered(self._document.id, status, self._output, document)
        return self._whole

    def rest(self) -> bytes:
        """The whole response: alone, or in the last event."""
        answered = self.answered()
        if self._whole_only:
            return answered.document
        opening = b"" if self._begun else self._beginning()
        kind = b"response.%b" % answered.status.encode()
        return opening + self._events.event(kind, b'"response":%b' % answered.document)

    def broken_off(self, error: ApiError) -> Answered:
        """With the item that was begun last as far as it came."""
        output = [*self._output, *([] if self._open is None else [self._open.as_dict("incomplete")])]
        return Answered(self._document.id, "failed", output, self._document.failed(error, orjson.dumps(output)))

    def failed(self, error: ApiError) -> bytes:
        """What was made so far, and the error in a form that official clients raise."""
        opening = b"" if self._begun else self._beginning()
        told = self._events.event(b"response.failed", b'"response":%b' % self.broken_off(error).document)
        return opening + told + error_event(error, self._events)


def error_event(error: ApiError, events: Events) -> bytes:
    """An error, both as it is documented and as official clients look for it: those raise it."""
    fields = {"code": error.code, "message": error.message, "param": error.param, "request_id": error.request_id}
    return events.event(b"error", orjson.dumps({**fields, "error": {"type": error.type, **fields}})[1:-1])
