"""An engine's document as the document of a response: what `reader.py` makes of a stream, for less."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.dialects.chat_stream import Delta, whole_of
from gateway.api.dialects.responses.document import Document, usage_of
from gateway.api.dialects.responses.output import Ended, call_item, message_item, reasoning_item
from gateway.api.dialects.responses.reader import INCOMPLETE, NOT_UNDERSTOOD
from gateway.errors import ApiError
from gateway.handoffs import Admitted, EngineBroke, EngineCount
from gateway.keeping import Answered


class WholeReader:
    """Reads one answer that comes in one piece."""

    __slots__ = ("_admitted", "_answered", "_count", "complete")

    def __init__(self, admitted: Admitted, count: EngineCount) -> None:
        self._admitted = admitted
        self._count = count
        self._answered: Answered | None = None
        self.complete = False
        """Whether it came."""

    def document(self, data: bytes) -> bytes:
        """Nothing yet: what it says is in the rest. Raises `EngineBroke`."""
        admitted, count = self._admitted, self._count
        said, usage = whole_of(data, count)
        cut = INCOMPLETE.get(said.finish_reason or "")
        status: Ended = "incomplete" if cut else "completed"
        output = self._output(said, status)
        written = Document(admitted)
        document = written.ended(status, orjson.dumps(output), usage_of(admitted, count, usage), reason=cut)
        self._answered = Answered(written.id, status, output, document)
        self.complete = True
        return b""

    def _output(self, said: Delta, status: Ended) -> list[dict[str, Any]]:
        """Its items: thoughts, text, calls. The last one has the answer's status, the others are complete."""
        name, output = self._admitted.call.request_id, list[dict[str, Any]]()
        if said.reasoning:
            is_last = not said.text and not said.calls
            item = reasoning_item(f"rs_{name}00", status if is_last else "completed", said.reasoning)
            keeping = self._admitted.request.keeping
            if keeping is not None and keeping.seal is not None:
                item["encrypted_content"] = keeping.seal(said.reasoning)
            output.append(item)
        if said.text:
            ends: Ended = "completed" if said.calls else status
            output.append(message_item(f"msg_{name}{len(output):02x}", ends, said.text, said.logprobs))
        for number, call in enumerate(said.calls, 1):
            if not call.name:
                raise EngineBroke(NOT_UNDERSTOOD)
            place = f"{name}{len(output):02x}"
            ends = status if number == len(said.calls) else "completed"
            output.append(call_item(f"fc_{place}", ends, call.arguments, call.id or f"call_{place}", call.name))
        return output

    def events(self, block: bytes) -> tuple[bytes, bytes | None]:
        """An engine that was asked for a document sends no stream. Raises `EngineBroke`."""
        raise EngineBroke("the engine was asked for a document and sent a stream")

    def answered(self) -> Answered:
        """The whole answer."""
        assert self._answered is not None
        return self._answered

    def rest(self) -> bytes:
        """The whole response."""
        assert self._answered is not None
        return self._answered.document

    def broken_off(self, error: ApiError) -> Answered:
        """With nothing, unless all of it came."""
        made = self._answered
        output = () if made is None else made.output
        written = Document(self._admitted)
        return Answered(written.id, "failed", output, written.failed(error, orjson.dumps(output)))

    def failed(self, error: ApiError) -> bytes:
        """Nothing of it went out before its end."""
        return self._admitted.request.dialect.error_body(error)
