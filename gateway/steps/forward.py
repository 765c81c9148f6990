"""Send the request to the engine and make its answer ours: public name and errors as the engine's kind says, the rest
as dialects say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol

import orjson

from gateway.api.dialects.engine_events import BROKEN_OFF, DATA, DONE, EVENT_END, FAILED, added_texts, other_model
from gateway.engines.connection import EngineTimeout, Exchange
from gateway.engines.kind import Asked
from gateway.engines.kinds import kind_of
from gateway.engines.most import most_of
from gateway.errors import AnswerTooLong, ApiError
from gateway.fleet.view import EngineView
from gateway.handoffs import Admitted, EngineBroke, EngineCount, EngineLied, InferenceRequest
from gateway.sealed_body import SealedBody

Feed = Callable[[bytes], Awaitable[None]]
"""Takes some bytes of an answer."""
FeedNow = Callable[[bytes], bool]
"""Likewise, if nobody has to be waited for; whether it has taken them."""
DONE_EVENT = DONE.removesuffix(EVENT_END)
MOST_REFUSAL_BYTES = 65_536
"""Of what an engine says of a refusal, beside what it repeats of the body."""
END_BYTES = 2_000
"""Of a document of which only the ends are looked at: what stands in one of them is shorter."""


class Bounds(Protocol):
    """How long an engine may say nothing, in seconds, and how long answers may be, in bytes."""

    @property
    def head_timeout_s(self) -> float:
        """Before a streamed answer begins."""

    @property
    def answer_timeout_s(self) -> float:
        """Before an answer in one piece is complete, however the engine was asked for it."""

    @property
    def idle_timeout_s(self) -> float:
        """Between two parts of an answer."""

    @property
    def max_answer_bytes(self) -> int:
        """Memory for an answer in one piece, and for an event."""

    @property
    def engine_token_bytes(self) -> int:
        """Of a token of an answer, with the event around it, at most."""


class Forward:
    """Async context around one exchange with an engine; `relay` has the bytes for the client.

    On entering, the engine has begun a good answer. Raises `EngineUnreachable` (try another engine), `AdapterMissing`,
    or an `ApiError` for the client; while reading, `EngineBroke` or `ApiError`.
    """

    def __init__(
        self, admitted: Admitted, engine: EngineView, engine_name: str, count: EngineCount, bounds: Bounds
    ) -> None:
        """`engine_name` is what the engine calls the arm; `count` is filled as its answer comes."""
        request, public_name = admitted.request, admitted.arm.public_name
        dialect = request.dialect
        kind = self._kind = kind_of(engine.declared)
        self._translates = dialect.asks != dialect.name
        """Whether a reader makes its own answer of the engine's, which clients get else, but for names and extras."""
        self._names = engine_name.encode(), public_name.encode()
        self._needle, self._replacement = kind.names_model(engine_name), kind.names_model(public_name)
        self._admitted = admitted
        self._request = request
        self._engine_name = engine_name
        self._count = count
        self.reader = dialect.reader(admitted, count)
        self._relays = request.stream and not self._translates
        self._relays_text = self._relays and request.choices == 1 and request.shows_usage != "always"
        """Whether of most events a client gets the text, as it stands there, and no count."""
        self._tap = None if admitted.shadow else admitted.tap
        if self._tap is not None:
            self._tap.begin(streamed=request.stream or request.assembled)
        self._idle_timeout_s = bounds.idle_timeout_s
        self._most_bytes = bounds.max_answer_bytes
        self._weight = _weight(request)
        self._kept_bytes = 0
        self._held = self._unfed = b""
        """Of a stream: of an event that is not whole yet; what its client must be waited for."""
        self._failure: bytes | None = None
        """The event in which the engine says that it failed."""
        self._context = engine.status.max_model_len
        most = most_of(request, admitted.bill, self._context, bounds.engine_token_bytes)
        count.most_prompt, count.most_completion, self._left_bytes = most
        self._exchange: Exchange = engine.client.request(
            kind.paths[dialect.asks],
            b"X-Request-Id: %b\r\n%b" % (admitted.call.engine_request_id.encode(), admitted.call.trace),
            _written(admitted, engine, engine_name),
            head_timeout_s=bounds.head_timeout_s if request.stream else bounds.answer_timeout_s,
        )

    async def __aenter__(self) -> Forward:
        try:
            await self._exchange.__aenter__()
        finally:
            self._count.sent = self._exchange.sent
        if self._exchange.status != 200:
            self._count.sent = self._exchange.status == 500  # every other refusal comes before the engine's work
            try:
                most_bytes = MOST_REFUSAL_BYTES + 8 * self._request.body_bytes
                body = await self._exchange.body(self._idle_timeout_s, most_bytes)
                raise self._told(self._kind.refusal(self._exchange.status, body, self._asked()))
            finally:
                await self._exchange.__aexit__(None, None, None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)

    async def relay(self, feed: Feed, feed_now: FeedNow) -> None:
        """Feed the answer's bytes for the client: as they come, in whole events, or all at once. Not its reader's rest.

        No generator of them: an event loop books each one that it meets, which costs as much as to read a short answer.
        """
        request = self._request
        if request.stream:
            self._feed_now = feed_now
            await self._events(feed)
        elif request.assembled:
            await self._assembled(feed)
        elif request.dialect.bulky:
            await self._pieces(feed)
        else:
            await self._document(feed)

    async def _document(self, feed: Feed) -> None:
        data = await self._whole()
        if self._tap is not None:
            self._tap.take(data)
        if not self._translates:
            data = self._kind.document(self._renamed(data))
        elif self._request.dialect.uses_tokens and self._needle not in data:
            raise other_model()
        if document := self.reader.document(data):
            await feed(document)

    async def _whole(self) -> bytes:
        parts: list[bytes] = []
        while data := await self._exchange.some(self._idle_timeout_s):
            self._take(data)
            self._keep(len(data))
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _keep(self, more: int) -> None:
        """So many bytes more have come of an answer that is kept until its end. Raises `RateLimited`, `Overloaded`,
        `AnswerTooLong`.
        """
        self._kept_bytes += int(more * self._weight)
        if self._kept_bytes > self._most_bytes:
            raise AnswerTooLong(self._most_bytes)
        if not self._admitted.shadow:
            self._admitted.held.answered(self._kept_bytes)

    async def _pieces(self, feed: Feed) -> None:
        """A document of which only the ends are looked at, as it comes: the name is in its head, the count in its tail.
        As a whole it would be copied again and again, while everybody waits.
        """
        held, named = b"", False
        while data := await self._exchange.some(self._idle_timeout_s):
            self._take(data)
            self._keep(len(data))
            held += data
            if len(held) > 2 * END_BYTES:
                if not named:
                    held, named = self._renamed(held), True
                await feed(held[:-END_BYTES])
                held = held[-END_BYTES:]
        await feed(self.reader.document(held if named else self._renamed(held)))

    async def _events(self, feed: Feed) -> None:
        """The client gets most events in the turn of the loop in which they come (`_passed_on`): to wake this task for
        each would cost as much again. It is woken for the first, for what its client must be waited for, and for
        faults.
        """
        count, exchange, idle_timeout_s = self._count, self._exchange, self._idle_timeout_s
        while data := await exchange.some(idle_timeout_s):
            block = self._seen(data)
            while block:
                if count.began_s is None:
                    count.began_s = time.perf_counter()
                await feed(block)
                if self._failure is None:
                    await exchange.pass_on(self._passed_on, idle_timeout_s)
                block, self._unfed = self._unfed, b""
            if self._failure is not None:
                raise self._failed(self._failure)
        self._require_all()

    def _passed_on(self, data: bytes) -> bool:
        """Whether what has come went to the client, and more may go so."""
        block = self._seen(data)
        if block and not self._feed_now(block):
            self._unfed = block
            return False
        return self._failure is None

    def _seen(self, data: bytes) -> bytes:
        """Bytes for the client of what has come of a stream; `_failure` is set if that says that the engine failed."""
        self._take(data)
        if self._weight > 1:
            self._keep(len(data))
        block, self._held, self._failure = self._read(self._held + data)
        if block and self.reader.complete:
            self._count.require_final()
        return block

    async def _assembled(self, feed: Feed) -> None:
        """Read at its end: to be woken for each chunk would cost ten times as much as to read it."""
        held, exchange = b"", self._exchange
        try:
            while data := await exchange.gathered():
                self._take(data)
                self._keep(len(data))
                block, held, failure = self._read(held + data)
                if block:
                    await feed(block)
                if failure is not None:
                    raise self._failed(failure)
        except (asyncio.CancelledError, EngineTimeout):
            with suppress(EngineBroke):  # it has the counts of what was made until now
                self._read(held + exchange.unread())
            raise
        self._require_all()

    def _read(self, data: bytes) -> tuple[bytes, bytes, bytes | None]:
        """Bytes for the client of the whole events that are there, the beginning of the next one, and the event in
        which the engine says that it failed, if there is one. Raises `EngineBroke`.
        """
        cut = data.rfind(EVENT_END) + len(EVENT_END)
        if cut < len(EVENT_END):
            if len(data) > self._most_bytes:
                raise EngineLied("too_long", f"an event of the engine's has more than {self._most_bytes} bytes")
            return b"", data, None
        block = data if cut == len(data) else data[:cut]
        if self._tap is not None:
            self._tap.take(block)
        if self._relays_text and (texts := added_texts(block, *self._names, self._count)) is not None:
            return texts, data[cut:], None
        if self._relays:
            renamed = block.replace(self._needle, self._replacement)
            if renamed is block:  # bytes in which nothing is replaced are the same object
                self._require_no_model(block)
            block = self._kind.events(renamed)
        elif self._needle not in block:
            self._require_no_model(block)
        block, failure = self.reader.events(block)
        return block, data[cut:], failure

    def _renamed(self, data: bytes) -> bytes:
        """A document that names its model once. Raises `EngineLied` when it names another one, or none."""
        renamed = data.replace(self._needle, self._replacement, 1)
        if renamed is data and self._request.dialect.uses_tokens:
            raise other_model()
        return renamed

    def _require_no_model(self, block: bytes) -> None:
        """Raises `EngineLied` for events that are an answer's, of which each names its model."""
        for event in block.split(EVENT_END)[:-1]:
            if event.startswith(DATA) and not event.startswith((FAILED, DONE_EVENT)) and not BROKEN_OFF.search(event):
                raise other_model()

    def _take(self, data: bytes) -> None:
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise EngineLied("too_long", "the engine's answer is longer than the request can have one")

    def _require_all(self) -> None:
        if not self.reader.complete:
            raise EngineBroke("the engine ended its answer in the middle")
        self._count.require_final()

    def _failed(self, event: bytes) -> Exception:
        count = self._count
        error = self._told(self._kind.failure(event, self._asked(), begun=count.began_s is not None))
        if count.source is None and isinstance(error, ApiError) and error.status < 500:
            count.sent = False  # refused behind the head of its stream, and before the engine's work
        return error

    def _told(self, error: Exception) -> Exception:
        """What an engine has said, in the client's terms: it may have been asked in another dialect."""
        return error.in_terms_of(self._request.dialect.public_field) if isinstance(error, ApiError) else error

    def _asked(self) -> Asked:
        return Asked(self._admitted, self._engine_name, self._context)


def _weight(request: InferenceRequest) -> float:
    """Bytes that are kept of each byte of an engine's answer, about: of a text's events a quarter, of scores all,
    and eight where they are kept as objects, as by readers that write them twice.
    """
    if request.body.get("logprobs"):
        return 8 if request.dialect.asks != request.dialect.name else 1
    return 0.25 if request.assembled else 1


def _written(admitted: Admitted, engine: EngineView, engine_name: str) -> tuple[bytes, ...]:
    """What the engine is asked, in pieces."""
    body, dialect, tenant = _body_for(engine, admitted.request), admitted.request.dialect, admitted.principal.tenant
    if type(body) is SealedBody:  # no `isinstance`, which goes through all that are mappings
        return body.pieces(dialect.engine_body(body.short, engine_name, tenant))
    return (orjson.dumps(dialect.engine_body(body, engine_name, tenant)),)


def _body_for(engine: EngineView, request: InferenceRequest) -> Mapping[str, Any]:
    """The body without what is wished for and this engine cannot do."""
    wishes = request.dialect.wishes
    lacking = engine.status.lacks & wishes.keys() if wishes else None
    if not lacking:
        return request.body
    left_out = {wishes[ability] for ability in lacking}
    if isinstance(request.body, SealedBody):
        return request.body.without(left_out)
    return {name: value for name, value in request.body.items() if name not in left_out}
