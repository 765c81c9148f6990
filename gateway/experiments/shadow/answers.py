"""Two answers while they come: the tenant's own, seen on its way to the client, and the copy's, which nobody gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType

from gateway.handoffs import AnswerReader, Booked, Sink

MOST_ANSWER_BYTES = 1 << 20
"""Of one answer that are held; what is longer is not compared."""


class Kept:
    """The bytes of one answer up to a bound, and when they came."""

    __slots__ = ("_began_s", "_first_s", "_length", "_parts", "attempt", "in_flight", "took_s")

    def __init__(self) -> None:
        self.attempt: Booked | None = None
        """The last one that was made for it."""
        self.in_flight = 0
        """Requests of this worker on its engine when it began."""
        self.took_s = 0.0
        """When its last bytes came, in seconds from its begin."""
        self._parts: list[bytes] = []
        self._length = 0
        self._began_s = 0.0
        self._first_s: float | None = None

    def begin(self, attempt: Booked, in_flight: int) -> None:
        """An attempt at it begins; what came of another one is none of it."""
        self.attempt, self.in_flight = attempt, in_flight
        self._parts.clear()
        self._length, self._first_s = 0, None
        self._began_s = time.perf_counter()

    def add(self, chunk: bytes) -> bool:
        """Take some of it in; whether that was the first."""
        self.took_s = time.perf_counter() - self._began_s
        self._length += len(chunk)
        if self._length <= MOST_ANSWER_BYTES:
            self._parts.append(chunk)
        else:
            self._parts.clear()
        if self._first_s is not None:
            return False
        self._first_s = self.took_s
        return True

    @property
    def outcome(self) -> str:
        """How it ended, as its usage row says; "" where nothing was booked or has ended."""
        return "" if self.attempt is None else self.attempt.outcome

    @property
    def first_byte_ms(self) -> float | None:
        """From the begin of the attempt to its first bytes."""
        return None if self._first_s is None else round(self._first_s * 1000, 1)

    @property
    def data(self) -> bytes | None:
        """All of it; `None` when that was too much."""
        return b"".join(self._parts) if self._length <= MOST_ANSWER_BYTES else None


class CopySink:
    """Where a copy's answer goes."""

    __slots__ = ("_loads", "kept")

    def __init__(self, loads: Mapping[str, int]) -> None:
        """`loads`: this worker's requests by engine URL."""
        self._loads = loads
        self.kept = Kept()

    def begin(self, attempt: Booked) -> None:
        """Of the one attempt that there is."""
        self.kept.begin(attempt, self._loads.get(attempt.engine_url, 0))

    def read_by(self, reader: AnswerReader) -> None:
        """Its parts are told apart later."""

    async def feed(self, chunk: bytes) -> None:
        """Keep it."""
        self.kept.add(chunk)

    def feed_now(self, chunk: bytes) -> bool:
        """Keep it: there is always room."""
        self.kept.add(chunk)
        return True


class Watched:
    """The client's own sink, with an eye on what goes through. Leaving the block says that the request has ended."""

    __slots__ = ("_client", "_loads", "_on_end", "_on_first_byte", "kept")

    def __init__(
        self,
        client: Sink,
        loads: Mapping[str, int],
        on_first_byte: Callable[[Watched], None],
        on_end: Callable[[Watched], None],
    ) -> None:
        """`on_first_byte` is called when the client has it."""
        self._client = client
        self._loads = loads
        self._on_first_byte = on_first_byte
        self._on_end = on_end
        self.kept = Kept()

    def begin(self, attempt: Booked) -> None:
        """An attempt begins."""
        self.kept.begin(attempt, self._loads.get(attempt.engine_url, 0))
        self._client.begin(attempt)

    def read_by(self, reader: AnswerReader) -> None:
        """An engine's good answer begins."""
        self._client.read_by(reader)

    async def feed(self, chunk: bytes) -> None:
        """Some of it, which the client gets first."""
        is_first = self.kept.add(chunk)
        await self._client.feed(chunk)
        if is_first:
            self._on_first_byte(self)

    def feed_now(self, chunk: bytes) -> bool:
        """The same for what is not the first of it."""
        if not self._client.feed_now(chunk):
            return False
        self.kept.add(chunk)
        return True

    def __enter__(self) -> Watched:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._on_end(self)
