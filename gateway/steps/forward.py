"""Send the request to the engine and make its answer ours: public name, errors translated, the rest as dialects say.

vLLM writes compact JSON and escapes quotes inside strings, so `"model":"a-…"` with bare quotes can only be the field
itself: replacing those bytes needs no parsing.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Protocol

import orjson

from gateway.api.fields.schema_faults import schema_fault
from gateway.engines.connection import EngineUnreachable, Exchange
from gateway.engines.names import digest_in
from gateway.engines.vllm.answers import events_without_extras, refusal_of, without_extras
from gateway.engines.vllm.control import INFERENCE_PATHS, is_about_tool_parser
from gateway.errors import BadRequest, EngineFailed
from gateway.fleet.abilities import refusal as unsupported
from gateway.fleet.view import CannotLoad, EngineView
from gateway.handoffs import Admitted, EngineBroke, EngineCount

EVENT_END = b"\n\n"
ABOUT_GRAMMARS = re.compile(r"grammar|schema|regex", re.IGNORECASE)
"""What vLLM's refusals of structured outputs speak of; of none does it say where the fault is."""
CONSTRAINTS = ("structured_outputs", "response_format")
BLAMES_BODY = (400, 413, 422)
"""Statuses by which an engine says that the request's body is at fault."""
DEAD_ENGINE = "EngineCore"
"""In vLLM's message when the engine itself has died, and not the request been at fault."""


class AdapterMissing(CannotLoad):
    """The engine does not know the adapter that we believed resident; nothing was generated."""

    def __init__(self, engine_name: str) -> None:
        super().__init__("the engine does not know the adapter")
        self.engine_name = engine_name


class Timeouts(Protocol):
    """How long an engine may say nothing, in seconds."""

    @property
    def head_timeout_s(self) -> float:
        """Before a streamed answer begins."""

    @property
    def answer_timeout_s(self) -> float:
        """Before an answer in one piece begins, which is when it is complete."""

    @property
    def idle_timeout_s(self) -> float:
        """Between two parts of an answer."""


class Forward:
    """Async context around one exchange with an engine; `chunks()` are the bytes for the client.

    On entering, the engine has begun a good answer. Raises `EngineUnreachable` (try another engine), `AdapterMissing`,
    or an `ApiError` for the client; while reading, `EngineBroke` or `ApiError`.
    """

    def __init__(
        self, admitted: Admitted, engine: EngineView, engine_name: str, count: EngineCount, timeouts: Timeouts
    ) -> None:
        """`engine_name` is what the engine calls the arm; `count` is filled as its answer comes."""
        request, public_name = admitted.request, admitted.arm.public_name
        dialect = request.dialect
        self._needle = b'"model":"%b"' % engine_name.encode()
        self._replacement = b'"model":"%b"' % public_name.encode()
        self._admitted = admitted
        self._request = request
        self._engine_name = engine_name
        self._count = count
        self._reader = dialect.reader(admitted, count)
        self._idle_timeout_s = timeouts.idle_timeout_s
        self._context = engine.status.max_model_len
        self._exchange: Exchange = engine.client.post(
            INFERENCE_PATHS[dialect.name],
            b"X-Request-Id: %b\r\n" % admitted.call.engine_request_id.encode(),
            orjson.dumps(dialect.engine_body(request.body, engine_name, admitted.principal.tenant)),
            head_timeout_s=timeouts.head_timeout_s if request.stream else timeouts.answer_timeout_s,
        )

    async def __aenter__(self) -> Forward:
        try:
            await self._exchange.__aenter__()
        finally:
            self._count.sent = self._exchange.sent
        if self._exchange.status != 200:
            self._count.sent = self._exchange.status == 500  # every other refusal comes before the engine's work
            try:
                raise self._translate(self._exchange.status, await self._exchange.body(self._idle_timeout_s))
            finally:
                await self._exchange.__aexit__(None, None, None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)

    def chunks(self) -> AsyncIterator[bytes]:
        """The answer's bytes as they come, in whole events when it streams."""
        return self._events() if self._request.stream else self._document()

    async def _document(self) -> AsyncIterator[bytes]:
        data = await self._exchange.body(self._idle_timeout_s)
        yield self._reader.document(without_extras(data.replace(self._needle, self._replacement, 1)))

    async def _events(self) -> AsyncIterator[bytes]:
        held, reader, count = b"", self._reader, self._count
        async for data in self._exchange.chunks(self._idle_timeout_s):
            held += data
            cut = held.rfind(EVENT_END) + len(EVENT_END)
            if cut < len(EVENT_END):
                continue
            block, held = events_without_extras(held[:cut].replace(self._needle, self._replacement)), held[cut:]
            block, failure = reader.events(block)
            if block:
                if count.began_s is None:
                    count.began_s = time.perf_counter()
                yield block
            if failure is not None:
                raise self._translate_event(failure)
        if not reader.complete:
            raise EngineBroke("the engine ended its answer in the middle")

    def _translate(self, status: int, body: bytes) -> Exception:
        """The engine's refusal as ours. Its own names never reach a client."""
        try:
            error = orjson.loads(body)["error"]
            message, param = str(error["message"]), error.get("param")
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            message, param = f"HTTP {status}", None
        if status == 404 and param == "model":
            return AdapterMissing(self._engine_name)
        if status == 503:
            return EngineUnreachable(f"the engine is overloaded: {message}")
        if status == 400 and is_about_tool_parser(message):
            return unsupported("tool_calls", self._admitted.arm.public_name)
        if status in (400, 413) and (too_long := self._too_long(message, param)):
            return too_long
        constraint = _constraint_of(self._request.body)
        about_grammar = status in BLAMES_BODY and ABOUT_GRAMMARS.search(message)
        if about_grammar or (status == 500 and DEAD_ENGINE not in message):
            fault = schema_fault(self._request.body)
            if fault is not None:
                return fault.by_engine()
        if status in BLAMES_BODY:
            param = param or (constraint if about_grammar else None)
            return BadRequest(self._publicly(message), param=param, code="engine_refused").by_engine()
        if DEAD_ENGINE in message:
            return EngineUnreachable("the engine died")
        if status != 500:  # path, key and headers are ours, and the same for every request
            return EngineUnreachable(f"the engine answers HTTP {status}: {message}")
        if constraint is not None:
            return BadRequest(
                f"'{constraint}' cannot be compiled or met.", param=constraint, code="constraint_failed"
            ).by_engine()
        return EngineFailed("The engine failed on this request.", code="engine_error").by_engine()

    def _too_long(self, message: str, param: str | None) -> BadRequest | None:
        request = self._request
        prompt = request.dialect.prompt_field(request.body)
        return refusal_of(self._publicly(message), param, prompt, self._context)

    def _translate_event(self, event: bytes) -> Exception:
        try:
            said = orjson.loads(event.removeprefix(b"data: "))
            if "error" not in said:
                return EngineBroke("the engine gave its answer up")
            message = str(said["error"]["message"])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            message = "unknown"
        if DEAD_ENGINE in message:
            return EngineBroke("the engine died while it answered")
        return EngineFailed(
            f"The engine failed while it answered: {self._publicly(message)}", code="engine_error"
        ).by_engine()

    def _publicly(self, message: str) -> str:
        """A message with our name of the model in place of the engine's, which may be a word such as `base`: vLLM
        quotes names, and only adapters' names stand for nothing else.
        """
        name = re.escape(self._engine_name)
        where = rf"(?<![\w-]){name}(?![\w-])" if digest_in(self._engine_name) else rf"(?<=([`'\"])){name}(?=\1)"
        return re.sub(where, lambda _: self._admitted.arm.public_name, message)


def _constraint_of(body: dict[str, Any]) -> str | None:
    """The field whose grammar the answer must meet."""
    if body.get("tool_choice", "auto") not in ("auto", "none"):
        return "tools"
    return next((name for name in CONSTRAINTS if body.get(name) is not None), None)
