"""The client's side of one proxied request, in raw ASGI: head, chunks, end, or an error in the right place."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from gateway.api.asgi import Message, Send, WriteNow
from gateway.api.request_ids import RequestIds
from gateway.errors import ApiError, Headers
from gateway.handoffs import AnswerReader, Arm, Booked, Dialect, InferenceRequest, Principal

log = logging.getLogger("switchyard.api")
JSON = b"application/json"
SSE = b"text/event-stream; charset=utf-8"
OF_STREAMS = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
AT_ONCE_BYTES = 1 << 18
"""Of a document, so many are given to the connection at once: what it has of them is counted no more at the end."""
PING = b": ping\n\n"
"""A comment: every reader of event streams drops it."""


async def _told_nothing(_message: Message) -> None:
    """The client has its answer."""


def _tells_nothing(_chunk: bytes) -> bool:
    return True


def _waits_for_all(_chunk: bytes) -> bool:
    """A server that writes nothing at once."""
    return False


class Respond:
    """A stream's head goes out with its first chunk, or with the ping that says that one is waited for; a document is
    held until `end`.

    So every error before that is a plain JSON answer with its own status, and nothing is complete before its usage is
    on record. Until a chunk was relayed, another engine may begin anew.
    """

    def __init__(
        self, send: Send, dialect: Dialect, *, began_s: float, ids: RequestIds, write_now: WriteNow = _waits_for_all
    ) -> None:
        """`ids` are told in every answer; `began_s` is `time.perf_counter()` when the request came."""
        self._send = send
        self._write_now = write_now
        self._dialect = dialect
        self._ids = ids
        self._headers = [*ids.headers]
        if dialect.request_id_header is not None:
            self._headers.append((dialect.request_id_header, ids.own.encode()))
        self._held: list[bytes] = []
        self._began_s = began_s
        self.spoke_s = 0.0
        """`time.monotonic()` of the last bytes of a stream."""
        self._kept_open_among: set[Respond] | None = None
        self._pinging: asyncio.Task[None] | None = None
        """A ping under way, which may have to wait for the client to read; nothing else is sent meanwhile."""
        self.reader: AnswerReader | None = None
        """Of the engine's answer that is under way."""
        self.principal: Principal | None = None
        """Who asks, when that is known."""
        self.arm: Arm | None = None
        """What answers, when that is known."""
        self.model: str | None = None
        """What was asked for, when that is known."""
        self.attempt: Booked | None = None
        """The last one that is booked for it: then usage tells of it."""
        self.error: ApiError | None = None
        """Why it was refused, or ended."""
        self.streams = False
        self.started = False
        """Whether the head went out."""
        self.relayed = False
        """Whether some of a good answer of an engine went out."""
        self.status = 0
        self.read_s = began_s
        """`time.perf_counter()` when all of the request was there; later by what it has waited for a turn."""
        self.asked_s = 0.0
        """Likewise, when its first attempt on an engine began."""
        self.first_byte_s: float | None = None
        """Seconds from the request to the first byte of its answer."""

    def describe(self, arm: Arm) -> None:
        """Name what answers the request."""
        self.arm = arm
        self._headers += arm.headers

    def describe_anew(self, arm: Arm) -> None:
        """Another arm answers than was described."""
        assert self.arm is not None
        before = self.arm.headers
        self._headers = [line for line in self._headers if line not in before]
        self.describe(arm)

    def set_request(self, request: InferenceRequest) -> None:
        """Know what is asked for, and the form of its answer."""
        self.model = request.model
        self.streams = request.stream

    def expect(self, request: InferenceRequest, headers: Headers) -> None:
        """An answer of an engine is waited for: add headers to it."""
        self._headers += headers
        if request.bounded_by_us:
            self._headers.append((b"x-switchyard-max-tokens", b"%d" % (request.max_output_tokens or 0)))

    def begin(self, attempt: Booked) -> None:
        """An attempt begins, which usage tells of."""
        if self.attempt is None:
            self.asked_s = attempt.began_s
        self.attempt = attempt

    def read_by(self, reader: AnswerReader) -> None:
        """An engine's good answer begins, which this one reads."""
        self.reader = reader

    async def feed(self, chunk: bytes) -> None:
        """Some bytes of a good answer."""
        if self.first_byte_s is None:
            self.first_byte_s = time.perf_counter() - self._began_s
        if not self.streams:
            self._held.append(chunk)
            return
        self.relayed = True
        if self._pinging is not None:
            await asyncio.wait({self._pinging})
        if not self.started:
            await self._start(200, SSE, OF_STREAMS)
        self.spoke_s = time.monotonic()
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    def feed_now(self, chunk: bytes) -> bool:
        """Some more of a stream, if nobody has to be waited for; whether it was written."""
        if self._pinging is not None or not self._write_now(chunk):
            return False
        self.spoke_s = time.monotonic()
        return True

    def keep_open(self, streams: set[Respond]) -> None:
        """Be one of the streams that somebody pings, to the end."""
        self.spoke_s = time.monotonic()
        self._kept_open_among = streams
        streams.add(self)

    def ping(self) -> None:
        """Send a comment, unless one is under way: that client does not read."""
        if self._pinging is None:
            self._pinging = asyncio.get_running_loop().create_task(self._send_ping())
            self._pinging.add_done_callback(_say_why_it_failed)

    async def _send_ping(self) -> None:
        self.spoke_s = time.monotonic()
        try:
            if not self.started:
                await self._start(200, SSE, OF_STREAMS)
            await self._send({"type": "http.response.body", "body": PING, "more_body": True})
        finally:
            self._pinging = None

    async def stop_pings(self) -> None:
        """The stream ends, well or not."""
        if self._kept_open_among is not None:
            self._kept_open_among.discard(self)
        if self._pinging is not None:
            await asyncio.wait({self._pinging})

    def reset(self) -> None:
        """Drop what is held of an answer that broke off before anything went out; another engine will give a whole one.

        Invariant: only called while nothing was sent.
        """
        assert not self.relayed
        self._held.clear()
        self.reader = None
        self.first_byte_s = None

    async def answer_now(self, document: bytes) -> None:
        """Answer with a document while the work goes on, of which the client is told nothing more."""
        await self._document(200, [document], [])
        self._send, self._write_now = _told_nothing, _tells_nothing

    def seen_by(self, take: Callable[[bytes, bool], None]) -> None:
        """Let `take` have the events of its stream as they go out, or would if its client were there, and whether they
        are the last. An error without a stream has none.
        """
        send, write_now = self._send, self._write_now
        unwritten: bytes | None = None
        """Was seen, and is sent next, if the request has not ended until then: its events have their numbers."""

        async def send_seen(message: Message) -> None:
            nonlocal unwritten
            is_told = message["type"] == "http.response.body" and self.status == 200
            if is_told and (body := message["body"]) is not PING:
                if body is not unwritten:
                    take(body, not message["more_body"])
                unwritten = None
            await send(message)

        def write_seen(chunk: bytes) -> bool:
            nonlocal unwritten
            take(chunk, False)
            if write_now(chunk):
                return True
            unwritten = chunk
            return False

        self._send, self._write_now = send_seen, write_seen

    async def end(self) -> None:
        """The answer is complete and on record."""
        if self.streams:
            await self.stop_pings()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await self._document(200, self._held, [])

    async def fail(self, error: ApiError) -> None:
        """The error as a JSON answer, or as the last event of a stream that has begun."""
        self.error = error
        error.request_id = self._ids.own
        await self.stop_pings()
        if self.started:
            said = self._dialect.error_event(error) if self.reader is None else self.reader.failed(error)
            await self._send({"type": "http.response.body", "body": said, "more_body": False})
            return
        await self._document(error.status, [self._dialect.error_body(error)], [*error.answer_headers()])

    async def _document(self, status: int, pieces: Sequence[bytes], headers: list[tuple[bytes, bytes]]) -> None:
        """The pieces are not joined: there may be a hundred megabytes of them, and the client reads one by one."""
        length = sum(map(len, pieces))
        await self._start(status, JSON, [*headers, (b"content-length", str(length).encode())])
        for piece in pieces[:-1]:
            await _send_more(self._send, piece)
        last = pieces[-1] if pieces else b""
        if len(last) > AT_ONCE_BYTES:
            await _send_more(self._send, last)
            last = b""
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    async def _start(self, status: int, content_type: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.started = True
        if self._send is not _told_nothing:
            self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", content_type), *self._headers, *headers],
            }
        )


def _say_why_it_failed(ping: asyncio.Task[None]) -> None:
    if not ping.cancelled() and ping.exception() is not None:
        log.error("a stream could not be kept open", exc_info=ping.exception())


async def _send_more(send: Send, piece: bytes) -> None:
    """A part of a body, at most `AT_ONCE_BYTES` of which the client has not read when it returns."""
    view = memoryview(piece)
    for at in range(0, len(view), AT_ONCE_BYTES):
        await send({"type": "http.response.body", "body": view[at : at + AT_ONCE_BYTES], "more_body": True})
