"""Spans: pieces of work with a begin and an end, within others, of one trace. Made where the work is done, at a cost of
a few microseconds; told elsewhere (`telemetry.outbox`), where it may take as long as it likes.

Ids and their sampling are those of W3C's trace context and of OpenTelemetry, which is not needed here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from random import SystemRandom
from types import TracebackType
from typing import Literal, NamedTuple, Protocol

Kind = Literal["server", "client", "internal"]
Value = str | int | float | bool
MOST_CHARACTERS = 256
"""Of a name or an attribute."""
LOW_BITS = (1 << 64) - 1
"""Of a trace's id, by which it is sampled."""
_random = SystemRandom().getrandbits


class Ended(NamedTuple):
    """A span that is over; times are nanoseconds since the epoch, and `parent_id` is 0 of what stands in no other."""

    name: str
    kind: Kind
    trace_id: int
    span_id: int
    parent_id: int
    parent_is_remote: bool
    began_ns: int
    ended_ns: int
    attributes: dict[str, Value]
    error: str | None
    """Why it failed, in few words of ours."""


class Remote(NamedTuple):
    """A span of somebody else's, in which one of ours begins."""

    trace_id: int
    span_id: int
    sampled: bool


class Span:
    """One that goes on. As a context it ends with the block, by the name of the exception that ends that."""

    __slots__ = (
        "_began_ns", "_began_s", "_ended", "_kind", "_parent_id", "_parent_is_remote", "_take", "attributes", "name",
        "span_id", "trace_id",
    )  # fmt: skip

    def __init__(self, name: str, kind: Kind, within: Remote | None, trace_id: int, take: Take) -> None:
        """Begins now. `take` gets it when it has ended."""
        self.name = name
        self._kind, self._take = kind, take
        self.trace_id = trace_id
        self.span_id = _random(64) or 1
        self._parent_id = 0 if within is None else within.span_id
        self._parent_is_remote = within is not None
        self.attributes: dict[str, Value] = {}
        self._ended = False
        self._began_ns, self._began_s = time.time_ns(), time.perf_counter()

    def child(self, name: str, kind: Kind = "internal") -> Span:
        """One within this one, that begins now."""
        span = Span(name, kind, Remote(self.trace_id, self.span_id, True), self.trace_id, self._take)
        span._parent_is_remote = False
        return span

    def set(self, **attributes: Value | None) -> None:
        """Add attributes of ours, `switchyard.NAME`; what is `None` is left out."""
        self.attributes |= {f"switchyard.{name}": value for name, value in attributes.items() if value is not None}

    def end(self, error: str | None = None) -> None:
        """It is over, well unless an error is given; only the first call counts."""
        if not self._ended:
            self._ended = True
            took_ns = int((time.perf_counter() - self._began_s) * 1e9)
            self._take(
                Ended(
                    self.name, self._kind, self.trace_id, self.span_id, self._parent_id, self._parent_is_remote,
                    self._began_ns, self._began_ns + took_ns, self.attributes, error,
                )
            )  # fmt: skip

    @property
    def header_line(self) -> bytes:
        """Tells of it who is asked by HTTP."""
        return b"traceparent: 00-%032x-%016x-01\r\n" % (self.trace_id, self.span_id)

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(None if error is None else type(error).__name__)


Take = Callable[[Ended], None]


class Begins(Protocol):
    """Where spans begin that stand in no other of ours."""

    def begin(self, name: str, kind: Kind = "internal", within: Remote | None = None) -> Span | None:
        """One that begins now; `None` when its trace is not told."""


class Tracer:
    """Begins spans of a share of all traces, 0 to 1, and hands those that have ended to `take`."""

    def __init__(self, share: float, take: Take) -> None:
        self._bound = round(share * (LOW_BITS + 1))
        self._take = take

    def begin(self, name: str, kind: Kind = "internal", within: Remote | None = None) -> Span | None:
        """As `Begins` has it: not what its client has decided not to trace, and of the rest the share."""
        if within is not None and not within.sampled:
            return None
        trace_id = (_random(128) or 1) if within is None else within.trace_id
        if trace_id & LOW_BITS >= self._bound:
            return None
        return Span(name, kind, within, trace_id, self._take)


def part_of(span: Span | None, name: str, kind: Kind = "internal") -> AbstractContextManager[Span | None]:
    """A block as a part of a span; nothing where that is not told."""
    return nullcontext() if span is None else span.child(name, kind)


def whole(tracer: Begins | None, name: str) -> AbstractContextManager[Span | None]:
    """A block as a span of its own; nothing where nothing is traced, or this is not."""
    span = None if tracer is None else tracer.begin(name)
    return nullcontext() if span is None else span
