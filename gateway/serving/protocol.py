"""HTTP/1.1 as it is served: uvicorn's protocol, with bounds on what an unknown client can make us hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.api.asgi import ON_DISCONNECT, ON_HELD_BACK, ON_KNOWN, WRITE_NOW
from gateway.api.request_ids import new_id
from gateway.errors import ApiError, BadRequest, Overloaded
from gateway.serving.crowd import Crowd
from gateway.serving.idling import IdleClock
from gateway.serving.reading import ReadingClock
from gateway.serving.transfer import is_read, refuse_coding
from gateway.serving.upgrade import PlainProtocol

MAX_HEAD_BYTES = 65_536
HEAD_TIMEOUT_S = 20.0
MOST_PIPELINED = 64
SMALL_PIECES, PIECE_BYTES = 2_048, 64
"""A body may come in so many pieces of any size, and in one more for each `PIECE_BYTES` of it: each costs some
microseconds, which would be all that this process does, for strangers too.
"""
READS_WITHIN_S = 30.0
"""In which a client must have read something of what waits for it."""
UNWANTED_BYTES_PER_S = 4 * 1024 * 1024
"""Of the rest of a body that was answered before it had come."""
MOST_EARLY_BYTES = 8_192
"""Of a connection that is read later (`newcomers.py`), for there may be hundreds of such."""
BODILESS = (204, 304)
CHUNKED = (b"transfer-encoding", b"chunked")
CLOSE = (b"connection", b"close")
LAST_CHUNK = b"0\r\n\r\n"


class Cycle(RequestResponseCycle):
    """One request and its answer. The head goes out with the first bytes of the body, in one write, and is looked at as
    a whole: uvicorn searches every name and every value for what must not be there, which costs more than all limits.
    """

    chunked_encoding: bool | None = False
    _ends_with_connection = False
    _head = b""
    _on_disconnect: Callable[[], None] | None = None

    def on_disconnect(self, call: Callable[[], None] | None) -> None:
        """Call this when the client goes, at once if it is gone; `None`: nothing more. The connection is read on, or
        nobody would know.
        """
        self._on_disconnect = call
        if call is None:
            self._let_go()
        elif self.disconnected:
            call()
        else:
            self.flow.resume_reading()

    def _let_go(self) -> None:
        """Of the extensions, which lead back to this cycle: all of it would wait for the garbage collector."""
        scope: Any = self.scope
        scope.pop("extensions", None)

    def hold_back(self, call: Callable[[], None]) -> None:
        """Keep nothing of the body, and read what is left of it when the answer is given; call this when the client
        goes, as far as that shows without reading.
        """
        self.body = bytearray()
        self.on_disconnect(call)
        if self.more_body:
            self.flow.pause_reading()

    def disconnect(self) -> None:
        """The client is gone."""
        self.disconnected = True
        self.message_event.set()
        if self._on_disconnect is not None:
            self._on_disconnect()

    async def send(self, message: Any) -> None:
        """One message of the application. Raises `RuntimeError` when it is not what ASGI allows now."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected or self.transport.is_closing():
            self.disconnected = True  # else uvicorn logs each answer that nobody is there for as a fault of ours
            return
        if not self.response_started:
            self._begin(message)
        elif not self.response_complete:
            self._go_on(message)
        else:
            raise RuntimeError(f"{message['type']!r} came after the end of the answer")

    def write_now(self, body: bytes) -> bool:
        """Write some more of a body in chunks, if its client need not be waited for; whether that was done."""
        if self._head or not self.chunked_encoding or self.flow.write_paused or self.transport.is_closing():
            return False
        self.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        return True

    def _begin(self, message: Any) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"an answer cannot begin with {message['type']!r}")
        status, headers = message["status"], [*self.default_headers, *message.get("headers", ())]
        streams = status not in BODILESS and self.scope["method"] != "HEAD"
        for name, value in headers:
            if name == b"content-length":
                self.expected_content_length = int(value)
                streams = False
        if streams:
            self.chunked_encoding = self.scope["http_version"] != "1.0"
            self._ends_with_connection = not self.chunked_encoding
        if self.chunked_encoding:
            headers.append(CHUNKED)
        if self.waiting_for_100_continue:  # nobody knows whether its sender sends the body still
            self.keep_alive = False
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(CLOSE)
        head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])
        if head.count(b"\n") != len(headers) + 1 or head.count(b"\r") != len(headers) + 1:
            raise RuntimeError("a header has a line break in it")
        self._head = head + b"\r\n"
        self.response_started = True
        self.waiting_for_100_continue = False

    def _go_on(self, message: Any) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError(f"{message['type']!r} came in the middle of an answer")
        body, ends = message.get("body", b""), not message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            data = self._head
        elif self.chunked_encoding:
            data = self._head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (LAST_CHUNK if ends else b"")
        else:
            data = self._head + body if self._head else body  # which may be a view of what many are sent
            self.expected_content_length -= len(body)
            left = 0 if self._ends_with_connection else self.expected_content_length
            if left < 0 or (ends and left):
                raise RuntimeError(f"the body is not as long as its content-length: {-left:+d}")
        self._head = b""
        if data:
            self.transport.write(data)
        if ends:
            self.response_complete = True
            self.message_event.set()
            if self._on_disconnect is None:  # else who listens lets go
                self._let_go()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


class BoundedProtocol(PlainProtocol):
    """Closes a connection on which too much comes, or nothing whole in time, of what is no body that is asked for."""

    crowd = Crowd()
    """Among whose connections it is; any number, unless a server has its own."""
    head_timeout_s = HEAD_TIMEOUT_S
    reads_within_s = READS_WITHIN_S
    unwanted_bytes_per_s = UNWANTED_BYTES_PER_S

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._reading = ReadingClock(transport, self.loop, self.reads_within_s)
        self._idling = IdleClock(transport, self.loop, self.timeout_keep_alive, self._reading)
        self._serving: Cycle | None = None
        """The request that is answered now, or was last; `cycle` is the one that was read last."""
        self._barren_bytes = 0
        """So many have come since the last that completed a head or was of a body."""
        self._spare_bytes = 0
        """By which the body that is read now is ahead of `PIECE_BYTES` a piece."""
        self._unwanted_bytes = 0
        """So many have just come of a body that was answered before it had come."""
        self._in_head = True
        self._clock: asyncio.TimerHandle | None = self.loop.call_later(self.timeout_keep_alive, transport.close)
        self._new = True
        """Nothing has come yet: load balancers open connections before they need them."""
        self._early: bytes | None = None
        """What has come of one that is read later; `None` of all others."""
        self._guest = self.crowd.enter(transport, self.client[0] if self.client else "")
        if self._guest is None:
            full = Overloaded("There are too many connections.", code="too_many_connections", retry_after_s=1)
            self._refuse(503, full)
        elif self._guest.late_s:
            self._stop_clock()
            self._early = b""
            self._clock = self.loop.call_later(self._guest.late_s, self._read_first)

    def _come_early(self, early: bytes) -> None:
        """Keep what has come; uvloop reads once before it can be told not to."""
        self.flow.pause_reading()
        if len(early) > MOST_EARLY_BYTES:
            self.transport.abort()
        self._early = early

    def _read_first(self) -> None:
        early, self._early = self._early, None
        self._clock = self.loop.call_later(self.timeout_keep_alive, self.transport.close)
        if early:
            self.data_received(early)
        self._read_on()

    def data_received(self, data: bytes) -> None:
        """Whatever comes while no request is served must become one in time: a head, or the rest of a body that was
        answered before it had come.
        """
        if self._early is not None:
            self._come_early(self._early + data)
            return
        if self._new:
            self._new = False
            self._stop_clock()
        self._idling.stop()
        self._barren_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unwanted_bytes:
            self._read_on_later()
        if self._barren_bytes > MAX_HEAD_BYTES:
            if self._serves:
                self.transport.abort()
                return
            if self._in_head:
                self._refuse(431, BadRequest(f"The head is longer than {MAX_HEAD_BYTES} bytes.", code="head_too_large"))
            self.transport.close()
        elif self._clock is None and not self._serves:
            self._clock = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _read_on_later(self) -> None:
        """Who was refused hears of it when the body is sent, and sends the next one then: as fast as it can be read,
        that would be all that this process does.
        """
        self.flow.pause_reading()
        self.loop.call_later(self._unwanted_bytes / self.unwanted_bytes_per_s, self._read_on)
        self._unwanted_bytes = 0

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    @property
    def _serves(self) -> bool:
        return self._serving is not None and not self._serving.response_complete

    @property
    def _waits_for_body(self) -> bool:
        """Of the request that is to be answered, and nothing was said yet: what comes now can only be its own."""
        cycle = self._serving
        return cycle is self.cycle and cycle is not None and not self._in_head and not cycle.response_started

    def on_headers_complete(self) -> None:
        """The head is whole: stop the clock. Raises `ConnectionError` when too many requests wait for their turn."""
        self._in_head = False
        self._spare_bytes = SMALL_PIECES * PIECE_BYTES
        self._barren_bytes = 0
        self._stop_clock()
        if len(self.pipeline) >= MOST_PIPELINED:
            raise ConnectionError("too many pipelined requests")  # nothing else stops the parser
        super().on_headers_complete()
        if self.scope["method"] == "CONNECT":  # nobody knows what its sender takes the next bytes for
            self.cycle.keep_alive = False
        self.headers = []  # trailers come here, and are no headers

    def on_body(self, body: bytes) -> None:
        """What is between two parts of a body, as around chunks or in trailers, is bounded as heads are.

        Raises `ConnectionError` when it comes in too small pieces.
        """
        self._barren_bytes = 0
        self._spare_bytes += len(body) - PIECE_BYTES
        if self._spare_bytes < 0:
            raise ConnectionError("a body in too small pieces")  # nothing else stops the parser
        super().on_body(body)
        if self.cycle.response_complete:
            self._unwanted_bytes += len(body)

    def on_message_complete(self) -> None:
        """The next bytes are the next request's head."""
        super().on_message_complete()
        if not self._offered:
            self._barren_bytes = 0
            self._in_head = True

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; but in the middle of an answer there is nothing to be said, and the answer that is
        due may be another request's.
        """
        self.crowd.unreadable.note("", self.client[0] if self.client else "")
        if self._serves and not self._waits_for_body:
            self.transport.abort()
        elif not self.transport.is_closing():
            self._refuse(400, BadRequest("This is no HTTP/1.1 request.", code="invalid_http"))

    def _refuse(self, status: int, error: ApiError) -> None:
        """An answer to what never becomes a request, and the end of the connection."""
        error.request_id = new_id()
        body = error.envelope()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % (len(body), error.request_id.encode()) + body)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is answered, and those behind it: uvicorn tells only the one that was read last."""
        self._stop_clock()
        self._reading.stop()
        self._idling.close()
        if self._guest is not None:
            self._guest.leave()
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        self.pipeline.clear()
        if self._serving is not None and not self._serving.response_complete:
            self._serving.disconnect()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """A client that reads nothing would hold places, money of its tenant and memory for ever."""
        super().pause_writing()
        self._reading.start()

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._reading.stop()

    def on_response_complete(self) -> None:
        """Serve what waits behind it, or wait for that; where the connection ends, its last bytes have to be read."""
        if self._guest is not None:
            self._guest.ends()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._reading.start_if_closing()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idling.start()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = Cycle  # uvicorn makes it, and has no seam for another one
        assert isinstance(cycle, Cycle)
        served = self._serving = cycle
        scope: Any = served.scope
        guest = self._guest
        if guest is not None:
            guest.begins()
            scope["extensions"] = {
                ON_DISCONNECT: served.on_disconnect,
                ON_KNOWN: guest.known,
                ON_HELD_BACK: self._hold_back,
                WRITE_NOW: served.write_now,
            }
        app = app if is_read(cycle.scope["headers"]) else refuse_coding
        starts = self.crowd.starts
        if starts.may_begin(self.loop):
            super()._start_asgi_task(cycle, app)
        else:
            who = "" if guest is None else guest.tenant or guest.address
            starts.wait(who, partial(super()._start_asgi_task, cycle, app))

    def _hold_back(self, call: Callable[[], None] | None) -> None:
        """The answer that is due comes late on purpose, or now."""
        assert self._serving is not None
        assert self._guest is not None
        if call is not None:
            self._guest.is_held_back()
            self._serving.hold_back(call)
        else:
            self._guest.is_answered()
            self._serving.on_disconnect(None)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
