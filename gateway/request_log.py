"""One line for each request: who asked for what, what answered, how it ended, what it used and cost.

Never prompts, answers, or keys. A thread makes the lines and writes them, a few times a second: whoever reads them may
stand still, and no request waits. Then lines are lost, and a line says how many.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple

import orjson

from gateway.handoffs import CLIENT_GONE_STATUS, Arm, Booked, Principal, Usage
from registry.money import nano_to_dollars

log = logging.getLogger("switchyard.request_log")
Form = Literal["json", "text", "off"]
STDOUT = 1
MOST_WAITING = 20_000
"""Lines; a minute of a busy worker's, and about 10 MB."""
EVERY_S = 0.25
ENDS_WITHIN_S = 2.0
PIPE_BYTES = 4_096
"""Writes of at most so many bytes stay whole when several workers share a pipe."""
NOTHING_USED = Usage()
PLAIN = re.compile(r"[A-Za-z0-9._:/@+-]+")
Value = str | int | float | bool | None


class Request(NamedTuple):
    """A request that has ended, as far as anybody got to know it. `ended_s` is that of `time.time`."""

    ended_s: float
    took_s: float
    request_id: str
    client_request_id: bytes | None
    method: str
    path: str
    status: int
    error: str | None
    """Code of the refusal."""
    principal: Principal | None = None
    model: str | None = None
    """As it was asked for."""
    arm: Arm | None = None
    stream: bool | None = None
    attempt: Booked | None = None
    first_byte_s: float | None = None


def fields_of(request: Request) -> dict[str, Value]:
    """The names and values of a line; what is not known is left out."""
    who, arm, attempt = request.principal, request.arm, request.attempt
    usage = NOTHING_USED if attempt is None else attempt.usage
    second = int(request.ended_s)
    given = request.client_request_id
    found: dict[str, Value] = {
        "at": f"{_second(second)}.{int((request.ended_s - second) * 1000):03d}Z",
        "request_id": request.request_id,
        "client_request_id": None if given is None else given.decode("latin-1"),
        "method": request.method,
        "path": request.path[:256],
        "tenant": None if who is None else who.tenant,
        "key_id": None if who is None else who.key_id,
        "model": request.model,
        "served": None if arm is None else arm.public_name,
        "arm": None if arm is None or arm.assignment is None else arm.assignment.arm,
        "engine": None if attempt is None else attempt.engine_url,
        "status": request.status,
        "outcome": _outcome(request.status) if attempt is None else attempt.outcome,
        "error": request.error,
        "stream": request.stream,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "first_byte_ms": None if request.first_byte_s is None else round(request.first_byte_s * 1000, 1),
        "ms": round(request.took_s * 1000, 1),
        "cost_dollars": None if attempt is None or attempt.nano is None else nano_to_dollars(attempt.nano),
    }
    return {name: value for name, value in found.items() if value is not None}


@lru_cache(4)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _outcome(status: int) -> str:
    if status < 400:
        return "ok"
    return "client_aborted" if status == CLIENT_GONE_STATUS else "refused" if status < 500 else "failed"


def json_line(fields: Mapping[str, Value]) -> str:
    """One JSON object. All that is not ASCII is escaped, because readers take more than `\\n` for the end of a line."""
    line = orjson.dumps(fields)
    return line.decode() if line.isascii() else json.dumps(fields, separators=(",", ":"))


def text_line(fields: Mapping[str, Value]) -> str:
    """`name=value`, in quotes where a value has anything but letters, digits and what addresses are made of."""
    return " ".join(f"{name}={_plain(value)}" for name, value in fields.items())


def _plain(value: Value) -> str:
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)


class RequestLog:
    """Notes requests on the event loop, and writes their lines in a thread of its own."""

    def __init__(self, form: Form, output: int = STDOUT) -> None:
        """`output` is a file descriptor."""
        self.on = form != "off"
        self._line = text_line if form == "text" else json_line
        self._output = output
        self._waiting: deque[Request] = deque()
        self._lost = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        if self.on:
            self._thread.start()

    def note(self, request: Request) -> None:
        """It has ended."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(request)
        else:
            self._lost += 1

    def close(self) -> None:
        """Write what waits, unless nobody reads it."""
        if self.on:
            self._ends.set()
            self._thread.join(ENDS_WITHIN_S)

    def _run(self) -> None:
        while not self._ends.wait(EVERY_S):
            if not self._write_all():
                return
        self._write_all()

    def _write_all(self) -> bool:
        try:
            for part in self._parts():
                self._write(part)
        except OSError as error:
            self.on = False
            log.error("requests are logged no more: %s", error)
            return False
        except Exception:  # of a line that cannot be made the others must not hear
            log.exception("a request could not be logged")
        return True

    def _parts(self) -> Iterator[bytes]:
        """What waits, in whole lines, as many together as stay whole in a pipe."""
        part = b""
        for line in self._lines():
            if part and len(part) + len(line) > PIPE_BYTES:
                yield part
                part = b""
            part += line
        if part:
            yield part

    def _lines(self) -> Iterator[bytes]:
        while self._waiting:
            yield self._line(fields_of(self._waiting.popleft())).encode() + b"\n"
        if self._lost:
            lost, self._lost = self._lost, 0
            yield self._line({"lines_lost": lost}).encode() + b"\n"

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._output, data) :]
            except BlockingIOError:  # somebody made it so that writes do not wait
                if self._ends.is_set():
                    return
                time.sleep(EVERY_S)
