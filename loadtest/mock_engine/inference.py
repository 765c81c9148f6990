"""From a parsed job to bytes on the socket, with the faults in the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import orjson

from loadtest.mock_engine.answers import Choice, generate
from loadtest.mock_engine.engine import Engine
from loadtest.mock_engine.jobs import Job, Kind, parse_job, parse_object
from loadtest.mock_engine.lies import LEAK, LONG_BYTES, PIECE, RAW, told
from loadtest.mock_engine.queues import CacheUse
from loadtest.mock_engine.replies import Json, StreamEvents, full_reply
from loadtest.mock_engine.serving import Serving
from loadtest.mock_engine.wire import JSON, STREAM, ClientGone, EngineError, Exchange

DONE = b"data: [DONE]\n\n"
NOT_HTTP = b"\x16\x03\x01 this is not HTTP\r\n\r\n"
NOT_JSON = b'{"id": "cmpl-broken", "choices": [{"ind'
LOOK_S = 0.02
"""Between two looks whether a request is still held."""


class SocketBroken(Exception):
    """A fault broke the connection on purpose; there is nothing left to answer."""


async def infer(engine: Engine, kind: Kind, exchange: Exchange) -> None:
    """Serve one chat or text completion. Raises EngineError before the answer has begun, ClientGone, SocketBroken."""
    data = await exchange.body()
    body = parse_object(data, exchange.header(b"content-type"))
    job = parse_job(kind, body, exchange.header(b"x-request-id"), engine.options)
    adapter = engine.find(job.model)
    engine.check_alive()
    if engine.faults.abort_after_tokens is not None:
        job = job.given_up_after(engine.faults.abort_after_tokens)
    name = adapter.name if adapter else engine.options.served_model_name[0]
    engine.stats.requests.count(name)
    engine.stats.identified += exchange.header(b"x-request-id") is not None
    engine.stats.trace = exchange.header(b"traceparent"), exchange.header(b"tracestate")
    arrived = time.perf_counter()
    try:
        await before_answer(engine, exchange, data)
        if job.stream:  # vLLM's head goes out before the request is so much as queued
            await exchange.start(200, STREAM)
        try:
            if job.refusal is not None:
                raise job.refusal
            async with engine.admission.place(adapter.number if adapter else None):
                engine.stats.queue.see(time.perf_counter() - arrived)
                await engine.pace.work(exchange, 0)
                await engine.prepare(adapter)
                with engine.batch(adapter) as serving:
                    whole = await _Answer(engine, exchange, job, serving, arrived).send()
        except EngineError as error:
            if not job.stream:
                raise
            whole = False
            await exchange.chunk(error.event())
        if job.stream:
            await exchange.chunk(DONE)
            await exchange.end()
    except ClientGone:
        engine.stats.aborted += 1
        raise
    except (EngineError, SocketBroken):
        engine.stats.failed += 1
        raise
    if whole:
        engine.stats.answered.count(name)
    else:
        engine.stats.failed += 1


async def before_answer(engine: Engine, exchange: Exchange, data: bytes) -> None:
    """The faults that keep a request from being answered. Raises EngineError, SocketBroken."""
    faults = engine.faults
    if faults.refuse_requests and exchange.header(b"x-request-id") and faults.refuse_requests_with.encode() in data:
        raise EngineError(faults.refuse_requests, "BadRequestError", "Injected refusal of every request.")
    if faults.fail_share and exchange.header(b"x-request-id") and faults.fail_share_with.encode() in data:
        engine.part_to_fail += faults.fail_share
        if engine.part_to_fail >= 1:
            engine.part_to_fail -= 1
            raise EngineError(500, "InternalServerError", "Injected failure of a part of the requests.")
    held = faults.hold_with
    if held and exchange.header(b"x-request-id") and held.encode() in data:
        while engine.faults.hold_with == held:
            await exchange.wait(LOOK_S)
        raise EngineError(500, "InternalServerError", "Injected failure of a request that was held.")
    if faults.lies in RAW and exchange.header(b"x-request-id"):
        exchange.transport.write(RAW[faults.lies])
        raise SocketBroken
    if faults.lies == "leaks" and exchange.header(b"x-request-id"):
        raise EngineError(400, "BadRequestError", LEAK)
    if faults.fail_next:
        engine.faults = replace(faults, fail_next=faults.fail_next[1:])
        status = faults.fail_next[0]
        kind = "ServiceUnavailableError" if status == 503 else "InternalServerError"
        raise EngineError(status, kind, f"Injected failure with status {status}.")
    if faults.garbage == "bytes":
        exchange.transport.write(NOT_HTTP)
        exchange.transport.close()
        raise SocketBroken
    if faults.die_after_chunks == 0:
        exchange.abort()
        raise SocketBroken
    if faults.garbage == "json":
        await exchange.answer(200, NOT_JSON)
        raise SocketBroken


class _Answer:
    """One answer being sent."""

    def __init__(self, engine: Engine, exchange: Exchange, job: Job, serving: Serving, arrived: float) -> None:
        self.engine = engine
        self.exchange = exchange
        self.job = job
        self.serving = serving
        self.arrived = arrived
        self.events_sent = 0
        self.adapters_begun = engine.table.begun
        self.done_s = engine.pace.clock()
        """When the work on it so far was done."""
        self.choices = self._generate()

    async def send(self) -> bool:
        """Send it, of a stream all but its end; False when it ends with an error event. Raises EngineError."""
        job, stats = self.job, self.engine.stats
        identity = f"{self.serving.model}\0{self.serving.path}\0{job.cache_salt}"
        uses = [self.engine.prefix.match(identity, prompt) for prompt in job.prompts]
        cache = CacheUse(sum(use.cached for use in uses), sum(use.created for use in uses))
        await (self._stream(cache) if job.stream else self._whole(cache))
        if job.aborted:
            return False
        stats.finished[job.finish_reason] += len(self.choices)
        stats.latency.see(time.perf_counter() - self.arrived)
        return True

    def _prefilled(self, cache: CacheUse) -> None:
        """vLLM counts a prompt when its first token comes, once for each of the `n` answers, and takes nothing back
        when the client leaves later.
        """
        self.engine.stats.prompt_tokens += self.job.prompt_tokens * self.job.n
        self.engine.stats.cached_tokens += cache.cached

    def _generate(self) -> list[Choice]:
        job, said = self.job, self.job.said
        if said is not None:
            count, vocabulary = job.answer_tokens, self.serving.vocab_size
            indexes = range(len(job.prompts) * job.n)
            return [said.choice(index, count, job.finish_reason, vocabulary) for index in indexes]
        return [
            generate(
                self.serving.who,
                prompt,
                index,
                job.draws_as(index),
                job.answer_tokens,
                job.finish_reason,
                job.only_token,
            )
            for index, prompt in enumerate(prompt for prompt in job.prompts for _ in range(job.n))
        ]

    async def _work(self, milliseconds: float) -> None:
        """The core works on this answer; a base answer may become another tenant's meanwhile, and stays it."""
        self.done_s = await self.engine.pace.work(self.exchange, milliseconds / 1_000, self.done_s)
        self.engine.check_alive()
        if self.serving.weights is None and (stranger := self.engine.contaminant(self.adapters_begun)):
            self.serving = replace(self.serving, weights=stranger)
            self.choices = self._generate()

    async def _whole(self, cache: CacheUse) -> None:
        faults = self.engine.faults
        await self._work(faults.ttft_ms)
        self._prefilled(cache)
        await self._count_while_generating(faults.token_ms)
        self.engine.stats.ttft.see(time.perf_counter() - self.arrived)
        if faults.error_after_chunks is not None:
            raise EngineError(500, "InternalServerError", "Internal server error")
        data = told(self._lie, full_reply(self.job, self.serving, self.choices, cache))
        if self._lie == "long":
            await self._say_without_end(JSON)
        if faults.die_after_chunks is not None:
            await self.exchange.start(200, JSON, len(data))
            await self.exchange.chunk(data[: len(data) // 2])
            self._break_socket()
        await self.exchange.answer(200, data)

    async def _count_while_generating(self, token_ms: float) -> None:
        """All tokens of an unstreamed answer."""
        self.engine.stats.generation_tokens += len(self.choices)
        await self._make(self.job.answer_tokens - 1, token_ms)

    async def _make(self, tokens: int, token_ms: float) -> None:
        """So many more tokens of each choice; those that were made before the client left are counted too."""
        made, began = tokens, self.engine.pace.clock()
        try:
            await self._work(token_ms * tokens)
        except ClientGone:
            made = min(tokens, int((self.engine.pace.clock() - began) * 1_000 / token_ms)) if token_ms else tokens
            raise
        finally:
            self.engine.stats.generation_tokens += made * len(self.choices)

    async def _stream(self, cache: CacheUse) -> None:
        job, stats = self.job, self.engine.stats
        events = StreamEvents(job, self.serving.model)
        await self._work(self.engine.faults.ttft_ms)
        self._prefilled(cache)
        for event in events.opening():
            await self._event(event)
        before = time.perf_counter()
        stats.ttft.see(before - self.arrived)
        for start, end in _pieces(job.answer_tokens, job.stream_interval):
            await self._make(end - start, self.engine.faults.token_ms if start else 0)
            now = time.perf_counter()
            stats.token_gap.see((now - before) / (end - start))
            before = now
            for choice in self.choices:
                await self._event(events.tokens(self.serving, choice, start, end))
        for event in events.closing(job.answer_tokens * len(self.choices), cache):
            await self._event(event)

    async def _event(self, event: Json) -> None:
        faults = self.engine.faults
        if faults.die_after_chunks is not None and self.events_sent >= faults.die_after_chunks:
            self._break_socket()
        if faults.error_after_chunks is not None and self.events_sent >= faults.error_after_chunks:
            raise EngineError(500, "InternalServerError", "Internal server error")
        if self._lie == "long":
            await self._say_without_end(None)
        if self._lie == "two usages" and not event["choices"]:
            await self.exchange.chunk(b"data: " + orjson.dumps(event) + b"\n\n")
        await self.exchange.chunk(b"data: " + told(self._lie, event) + b"\n\n")
        self.events_sent += 1

    @property
    def _lie(self) -> str:
        return self.engine.faults.lies if self.exchange.header(b"x-request-id") else ""

    async def _say_without_end(self, content_type: bytes | None) -> None:
        """One line, or a document, of `LONG_BYTES`."""
        if content_type is not None:
            await self.exchange.start(200, content_type)
        for _ in range(LONG_BYTES // len(PIECE)):
            await self.exchange.chunk(PIECE)
            await self.exchange.wait(0.0001)
        self._break_socket()

    def _break_socket(self) -> None:
        self.exchange.transport.close()  # close, not abort: what was written before still arrives
        raise SocketBroken


def _pieces(tokens: int, interval: int) -> Iterator[tuple[int, int]]:
    """Where the events of a stream begin and end: the first has one token, others the interval's, the last the rest."""
    end = 0
    while end < tokens:
        start, end = end, min(tokens, end + interval) if end else 1
        yield start, end
