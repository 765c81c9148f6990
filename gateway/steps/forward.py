"""Send the request to the engine and make its answer ours: public name, usage seen, errors translated.

vLLM writes compact JSON and escapes quotes inside strings, so `"model":"a-…"` with bare quotes can only be the field
itself: replacing those bytes needs no parsing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import orjson

from gateway.errors import BadRequest, EngineFailed
from gateway.fleet.connection import EngineBroke, EngineClient, EngineUnreachable, Exchange
from gateway.fleet.vllm import INFERENCE_PATHS
from gateway.handoffs import Usage

EVENT_END = b"\n\n"
DONE = b"data: [DONE]\n\n"
CONSTRAINTS = ("structured_outputs", "response_format")
DEAD_ENGINE = "EngineCore"
"""In vLLM's message when the engine itself has died, and not the request been at fault."""


class AdapterMissing(EngineUnreachable):
    """The engine does not know the adapter that we believed resident; nothing was generated."""

    def __init__(self, engine_name: str) -> None:
        super().__init__("the engine does not know the adapter")
        self.engine_name = engine_name


class Forward:
    """Async context around one exchange with an engine; `chunks()` are the bytes for the client.

    On entering, the engine has begun a good answer. Raises `EngineUnreachable` (try another engine), `AdapterMissing`,
    or an `ApiError` for the client; while reading, `EngineBroke` or `ApiError`.
    """

    def __init__(
        self,
        client: EngineClient,
        endpoint: str,
        body: dict[str, Any],
        *,
        engine_name: str,
        public_name: str,
        cache_salt: str,
        request_id: str,
        hide_usage: bool,
        usage: Usage,
        head_timeout_s: float,
        idle_timeout_s: float,
        api_key: str | None,
    ) -> None:
        self._needle = b'"model":"%b"' % engine_name.encode()
        self._replacement = b'"model":"%b"' % public_name.encode()
        self._engine_name = engine_name
        self._public_name = public_name
        self._hide_usage = hide_usage
        self._usage = usage
        self._idle_timeout_s = idle_timeout_s
        self._streams = bool(body.get("stream"))
        self._constraint = next((name for name in CONSTRAINTS if body.get(name) is not None), None)
        headers = b"X-Request-Id: %b\r\n" % request_id.encode()
        if api_key is not None:
            headers += b"Authorization: Bearer %b\r\n" % api_key.encode()
        self._exchange: Exchange = client.post(
            INFERENCE_PATHS[endpoint],
            headers,
            orjson.dumps({**body, "model": engine_name, "cache_salt": cache_salt}),
            head_timeout_s=head_timeout_s,
        )

    async def __aenter__(self) -> Forward:
        await self._exchange.__aenter__()
        if self._exchange.status != 200:
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
        return self._events() if self._streams else self._document()

    async def _document(self) -> AsyncIterator[bytes]:
        data = await self._exchange.body(self._idle_timeout_s)
        try:
            self._see(orjson.loads(data)["usage"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise EngineBroke("the engine's answer cannot be understood") from error
        yield data.replace(self._needle, self._replacement, 1)

    async def _events(self) -> AsyncIterator[bytes]:
        held = b""
        done = False
        async for data in self._exchange.chunks(self._idle_timeout_s):
            held += data
            cut = held.rfind(EVENT_END) + len(EVENT_END)
            if cut < len(EVENT_END):
                continue
            block, held = held[:cut].replace(self._needle, self._replacement), held[cut:]
            failure = None
            if b'"usage":{' in block or b'data: {"error"' in block:
                block, failure = self._look_at_each(block)
            done = block.endswith(DONE) or done
            if block:
                yield block
            if failure is not None:
                raise failure
        if not done:
            raise EngineBroke("the engine ended its answer in the middle")

    def _look_at_each(self, block: bytes) -> tuple[bytes, Exception | None]:
        """What to send of a block that holds usage or an error, and the error that then ends the stream.

        Usage is seen, and hidden from clients who did not ask.
        """
        kept = b""
        for event in block.split(EVENT_END)[:-1]:
            if event.startswith(b'data: {"error"'):
                return kept, self._translate_event(event)
            if b'"usage":{' in event:
                try:
                    document = orjson.loads(event.removeprefix(b"data: "))
                    self._see(document["usage"])
                    hidden = self._hide_usage and not document["choices"]
                except (orjson.JSONDecodeError, KeyError, TypeError):
                    return kept, EngineBroke("the engine's answer cannot be understood")
                if hidden:
                    continue
            kept += event + EVENT_END
        return kept, None

    def _see(self, usage: dict[str, Any]) -> None:
        self._usage.prompt_tokens = usage["prompt_tokens"]
        self._usage.completion_tokens = usage.get("completion_tokens", 0)
        self._usage.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0

    def _translate(self, status: int, body: bytes) -> Exception:
        """The engine's refusal as ours. Its own names never reach a client."""
        try:
            error = orjson.loads(body)["error"]
            message, param = str(error["message"]), error.get("param")
        except (orjson.JSONDecodeError, KeyError, TypeError):
            message, param = f"HTTP {status}", None
        if status == 404 and param == "model":
            return AdapterMissing(self._engine_name)
        if status == 503:
            return EngineUnreachable(f"the engine is overloaded: {message}")
        if status in (400, 413, 422):
            return BadRequest(self._publicly(message), param=param, code="engine_refused")
        if status == 500 and self._constraint is not None and DEAD_ENGINE not in message:
            return BadRequest(
                f"'{self._constraint}' cannot be compiled or met.", param=self._constraint, code="constraint_failed"
            )
        if DEAD_ENGINE in message:
            return EngineUnreachable("the engine died")
        return EngineFailed("The engine failed on this request.", code="engine_error")

    def _translate_event(self, event: bytes) -> Exception:
        try:
            error = orjson.loads(event.removeprefix(b"data: "))["error"]
            message = str(error["message"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            message = "unknown"
        if DEAD_ENGINE in message:
            return EngineBroke("the engine died while it answered")
        return EngineFailed(f"The engine failed while it answered: {self._publicly(message)}", code="engine_error")

    def _publicly(self, message: str) -> str:
        return message.replace(self._engine_name, self._public_name)
