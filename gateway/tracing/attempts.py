"""The span of one attempt at an engine, by OpenTelemetry's conventions for generative AI. The engine's own spans stand
in it: it is told of this one in the place of the client's.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

from gateway.errors import ApiError
from gateway.handoffs import Admitted, Booked
from telemetry.spans import Span, Value

OPERATIONS = {"chat": "chat", "completions": "text_completion", "embeddings": "embeddings"}
"""What the conventions call our endpoints; the others go by their own names."""
PROVIDER = "vllm"
ASKED = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}
"""Numbers of a body that are told. Stops are not: they are text of the client's."""


class Timed(Booked, Protocol):
    """An attempt in the books that knows when its answer began."""

    @property
    def first_bytes_s(self) -> float | None:
        """Seconds from its begin to the first bytes of a streamed answer, if they came."""


class AttemptSpan:
    """Context around an attempt; its value is the request as it is to be tried: the engine hears of this span."""

    __slots__ = ("_admitted", "_meter", "_number", "_span")

    def __init__(self, request: Span, admitted: Admitted, meter: Timed, number: int) -> None:
        """Within the request's span; `meter` has what came of it, at its end."""
        self._admitted, self._meter, self._number = admitted, meter, number
        operation = operation_of(admitted)
        self._span = request.child(f"{operation} {admitted.arm.public_name}", "client")

    def __enter__(self) -> Admitted:
        call = self._admitted.call
        _, _, state = call.trace.partition(b"\r\n")
        traced = call._replace(span=self._span, trace=self._span.header_line + state)
        return self._admitted._replace(call=traced)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._span.attributes |= _attributes(self._admitted, self._meter)
        self._span.set(
            request_id=self._admitted.call.request_id,
            attempt=self._number,
            tenant=self._admitted.principal.tenant,
            outcome=self._meter.outcome,
            shadow=self._admitted.shadow or None,
        )
        self._span.end(None if error is None else _type_of(error))


def operation_of(admitted: Admitted) -> str:
    """What the engine is asked to do, as the conventions call it."""
    asks = admitted.request.dialect.asks
    return OPERATIONS.get(asks, asks)


def _type_of(error: BaseException) -> str:
    code = error.code if isinstance(error, ApiError) else None
    return code or type(error).__name__


def _attributes(admitted: Admitted, meter: Timed) -> dict[str, Value]:
    request, usage = admitted.request, meter.usage
    address = urlsplit(meter.engine_url)
    known: dict[str, Value | None] = {
        "gen_ai.operation.name": operation_of(admitted),
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": admitted.arm.public_name,
        "gen_ai.request.max_tokens": request.max_output_tokens,
        "gen_ai.request.stream": request.stream or request.assembled,
        "gen_ai.response.model": admitted.arm.public_name if meter.outcome == "ok" else None,
        "gen_ai.response.time_to_first_chunk": meter.first_bytes_s,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "server.address": address.hostname,
        "server.port": address.port,
    }
    asked = {ASKED[name]: request.body[name] for name in ASKED if name in request.body}
    numbers = {name: value for name, value in asked.items() if isinstance(value, int | float)}
    return {**numbers, **{name: value for name, value in known.items() if value is not None}}
