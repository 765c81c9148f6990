"""The stream of a background response, written down as it goes out: some events at a time, and nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import cast

from gateway.complaints import Complaint
from gateway.responses.runs import Run
from gateway.responses.writer import AGAIN_S, PASSING, Shared, Writer
from registry.responses.streams import EVENT_END, ResponseStreams, SomeEvents

log = logging.getLogger("switchyard.responses")
UNWRITTEN = Complaint(log)
EVERY_S = 0.5
AT_ONCE_BYTES = 1 << 16
"""So many are written down before it is time."""
MOST_BYTES = 1 << 24
"""That wait for the database; of a stream that has more nothing further is written down."""


class Recording:
    """Of one stream. Not for threads."""

    def __init__(self, writer: Writer, streams: ResponseStreams, run: Run) -> None:
        self._writer = writer
        self._streams = streams
        self._run = run
        self._first = 0
        """The number of the first event that is not written down."""
        self._events = bytearray()
        """From that one on."""
        self._ended = False
        self._goes_on = True
        self._is_writing = False
        self._pause: asyncio.TimerHandle | None = None
        """Until it is time."""

    def take(self, events: bytes, ended: bool) -> None:
        """Some whole events go out; whether they are the last."""
        if len(self._events) + len(events) > MOST_BYTES:
            self._goes_on = False
        if not self._goes_on:
            return
        self._events += events
        self._ended = ended
        self._write_in_time()

    def _write_in_time(self) -> None:
        if self._is_writing:
            return
        if self._ended or len(self._events) >= AT_ONCE_BYTES:
            self._write()
        elif self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(EVERY_S, self._write)

    def _write(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._is_writing = True
        events, ended = bytes(self._events), self._ended
        some = SomeEvents(*self._run, self._first, events, ended)
        order = Shared(self._streams.append, some)
        self._writer.do(order, waits=False).add_done_callback(partial(self._written, events, ended))

    def _written(self, events: bytes, ended: bool, done: asyncio.Future[None]) -> None:
        self._is_writing = False
        if done.cancelled():
            return
        if (error := done.exception()) is None:
            del self._events[: len(events)]
            self._first += events.count(EVENT_END)
            if self._events or self._ended != ended:
                self._write_in_time()
            return
        UNWRITTEN.report("the stream of a response cannot be written down", cast("Exception", error))
        if isinstance(error, PASSING):
            self._is_writing = True
            asyncio.get_running_loop().call_later(AGAIN_S, self._write)
        else:
            self._goes_on = False
