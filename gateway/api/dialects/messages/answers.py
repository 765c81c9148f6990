"""What engines answer, as Anthropic's Messages: a stream of events, or one document."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.dialects.chat_stream import ChatStream, Delta
from gateway.api.dialects.messages.blocks import Blocks, Content, Events
from gateway.errors import ApiError
from gateway.handoffs import Admitted, EngineCount


def stop_reason(finish_reason: str | None, stopped_by: str | int | None, blocks: Blocks) -> tuple[str, str | None]:
    """Why an answer ended, and which of the client's stop sequences ended it.

    A tool is used only if its call is whole: what a stop sequence cut short must not be run.
    """
    if finish_reason == "length":
        return "max_tokens", None
    if finish_reason == "content_filter":
        return "refusal", None
    if blocks.call_is_whole:
        return "tool_use", None
    if isinstance(stopped_by, str):
        return "stop_sequence", stopped_by
    return ("tool_use" if blocks.called else "end_turn"), None


class MessageReader:
    """Makes one message of an engine's chat."""

    __slots__ = ("_admitted", "_blocks", "_count", "_ended", "_sink", "_started", "_stream")

    def __init__(self, admitted: Admitted, count: EngineCount) -> None:
        signature = admitted.call.request_id
        self._admitted = admitted
        self._count = count
        self._stream = ChatStream(count)
        self._sink = Events(signature) if admitted.request.stream else Content(signature)
        self._blocks = Blocks(self._sink)
        self._started = False
        self._ended: Delta | None = None

    @property
    def complete(self) -> bool:
        """Whether the end of the engine's stream came."""
        return self._stream.complete

    def document(self, data: bytes) -> bytes:
        """Nothing yet: what it says is in the rest. Raises `EngineBroke`."""
        self._take([self._stream.whole(data)])
        return b""

    def events(self, block: bytes) -> tuple[bytes, bytes | None]:
        """What the engine says now, in whole blocks or parts of them. Raises `EngineBroke`."""
        deltas, failure = self._stream.deltas(block)
        sink = self._sink
        self._take(deltas)
        return sink.taken() if isinstance(sink, Events) else b"", failure

    def _take(self, deltas: list[Delta]) -> None:
        if deltas and not self._started:
            self._start()
        for delta in deltas:
            self._blocks.take(delta)
            if delta.finish_reason is not None:
                self._ended = delta

    def rest(self) -> bytes:
        """Why it ended and what it used; of a document all."""
        if not self._started:
            self._start()
        self._blocks.close()
        ended = self._ended
        reason, sequence = stop_reason(ended and ended.finish_reason, ended and ended.stop_reason, self._blocks)
        sink = self._sink
        if isinstance(sink, Content):
            return orjson.dumps(self._message(sink.blocks, reason, sequence))
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        sink.say(b"message_delta", {"type": "message_delta", "delta": delta, "usage": self._usage()})
        sink.say(b"message_stop", {"type": "message_stop"})
        return sink.taken()

    def failed(self, error: ApiError) -> bytes:
        """Without a stop: the message is not whole."""
        return self._admitted.request.dialect.error_event(error)

    def _start(self) -> None:
        self._started = True
        if isinstance(self._sink, Events):
            message = self._message([], None, None)
            self._sink.say(b"message_start", {"type": "message_start", "message": message})

    def _message(self, content: list[dict[str, Any]], reason: str | None, sequence: str | None) -> dict[str, Any]:
        return {
            "id": f"msg_{self._admitted.call.request_id}",
            "type": "message",
            "role": "assistant",
            "model": self._admitted.arm.public_name,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": self._usage(),
        }

    def _usage(self) -> dict[str, int]:
        """The tokens that are booked. Nothing is charged for what is put into a cache."""
        count = self._count
        cached = count.cached_tokens or 0
        return {
            "input_tokens": (count.prompt_tokens or 0) - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": count.completion_tokens or 0,
        }
