"""The parent's end of the clerk: a process that does what takes long about large bodies, one piece of work at a time.

A body of four megabytes takes a tenth of a second to parse, to check and to write again, and most of that happens in a
few calls that keep the interpreter: beside the event loop, but in its process, it would hold up everybody.
"""

from __future__ import annotations

import io
import logging
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import IO, Any, NamedTuple, TypeVar

from gateway.api.dialects import DIALECTS
from gateway.api.dialects.dialect import Dialect
from gateway.errors import ApiError, Overloaded
from registry.children.asked import AskedChild, ChildGone
from registry.children.environment import without_settings

T = TypeVar("T")
log = logging.getLogger("switchyard.clerk")
COMMAND = (sys.executable, "-m", "gateway.clerk_process")
NICENESS = 10
"""Small requests go first where processors are scarce."""
MOST_S = 30.0
"""For one piece of work."""
AGAIN_S = 10.0
"""So long after one was started, another is."""


class Said(NamedTuple):
    """What has become of a piece of work."""

    done: bool
    what: Any
    """What it returned, or the exception that it raised."""


class Clerk:
    """At most one process, which the first piece of work starts. Every method blocks, so call them in a thread, one at
    a time; only `rest` and `close` may be called meanwhile.
    """

    def __init__(self) -> None:
        self.child = AskedChild("the clerk", COMMAND, without_settings, niceness=NICENESS)
        self._reads = False
        """Whether the process has said that it reads."""
        self._started_s = -AGAIN_S

    @property
    def reads(self) -> bool:
        """Whether the process does what it is told, as far as is known."""
        return self._reads and self.child.process is not None

    def do(self, work: Callable[[], T]) -> T:
        """What `work` returns, which is a function of a module with what it is called with: it is pickled, as its
        result is. While the process starts, this one does it. Raises what it raises, and `Overloaded` when the process
        was lost.
        """
        if not self.is_there():
            return work()
        try:
            said = self.child.exchange(lambda asked: _Pickler(asked).dump(work), read, MOST_S)
        except ChildGone as gone:
            raise Overloaded(
                "The process that reads long bodies was lost. Send the request again, or a shorter one.",
                code="body_not_read",
                retry_after_s=1,
            ) from gone
        if said.done:
            result: T = said.what
            return result
        try:
            raise said.what
        finally:
            del said  # or it, its traceback and this frame would be a ring, with the body in it

    def rest(self) -> None:
        """End the process, if one runs, until there is work again."""
        self._started_s = -AGAIN_S
        self.child.rest()

    def close(self) -> None:
        """End the process, if one runs; no other is started."""
        self.child.close()

    def is_there(self) -> bool:
        """Whether the process reads; one is started where none is, unless that was done a moment ago."""
        try:
            if self.child.process is None:
                self._reads = False
                self._start()
            elif not self._reads and _has_spoken(self.child.process):
                self.child.exchange(lambda _: None, read, MOST_S)
                self._reads = True
        except ChildGone as gone:
            log.warning("%s; until it runs again this process reads long bodies", gone)
        return self.reads

    def _start(self) -> None:
        if not self.child.is_closed and time.monotonic() - self._started_s >= AGAIN_S:
            self._started_s = time.monotonic()
            self.child.start()


def _has_spoken(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has said something, or has ended."""
    ear = select.poll()
    ear.register(process.stdout)  # type: ignore[arg-type]
    return bool(ear.poll(0))


class _Pickler(pickle.Pickler):
    """Dialects, which are the same in both processes, by their names."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)

    def reducer_override(self, one: Any) -> Any:
        """How what is no plain value is made again."""
        if isinstance(one, Dialect):
            return dialect_named, (one.name,)
        if isinstance(one, MappingProxyType):
            return MappingProxyType, ({**one},)
        if isinstance(one, ApiError):
            return error_of, (type(one), vars(one))
        return NotImplemented


def written(said: Said) -> bytes:
    """As the process says it. Raises what pickling raises."""
    out = io.BytesIO()
    _Pickler(out).dump(said)
    return out.getvalue()


def read(said: IO[bytes]) -> Any:
    """What the other end has written. Raises `EOFError` or `ValueError`."""
    try:
        return pickle.load(said)  # noqa: S301 - it is our own process that says it
    except pickle.UnpicklingError as error:
        raise ValueError(str(error)) from error


def dialect_named(name: str) -> Dialect:
    """The one of this process."""
    return DIALECTS[name]


def error_of(kind: type[ApiError], state: Mapping[str, Any]) -> ApiError:
    """An error with all that it says; how one is made differs from kind to kind."""
    error = kind.__new__(kind, state["message"])
    vars(error).update(state)
    return error
