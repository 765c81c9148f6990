"""One durable usage row for each attempt, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from types import TracebackType

import orjson

from gateway.complaints import Complaint
from gateway.errors import ApiError, Overloaded
from gateway.fleet.view import CannotLoad
from gateway.handoffs import CLIENT_GONE, Admitted, EngineCount, Usage
from gateway.journal.journal import Journal
from gateway.journal.rows import begun, ended, kind_of

log = logging.getLogger("switchyard.meter")
UNRECORDED = Complaint(log)
NOTHING_USED = Usage()


class Meter:
    """Writes an intent on entering and a settle record on leaving; the value is the count to fill in between.

    Both are plain appends to the journal, so a kill -9 right after either loses nothing.
    """

    __slots__ = (
        "_attempt_id",
        "_began_s",
        "_bill",
        "_count",
        "_journal",
        "_kind",
        "_request",
        "_started_at_ms",
        "engine_url",
        "nano",
        "outcome",
        "usage",
    )

    def __init__(self, journal: Journal, admitted: Admitted, engine_url: str, number: int) -> None:
        """Of the attempt `number` of a request, on one engine; its bill is charged when the attempt has ended."""
        call, principal, request, arm = admitted.call, admitted.principal, admitted.request, admitted.arm
        version = arm.version
        self._journal = journal
        self._bill = admitted.bill
        self._request = request
        self._count = EngineCount()
        self.engine_url = engine_url
        self.outcome = ""
        self.nano: int | None = None
        self.usage = NOTHING_USED
        self._attempt_id = b"%b-%d" % (call.request_id.encode(), number)
        self._kind = kind_of(
            principal.tenant,
            principal.key_id,
            request.model,
            arm.public_name,
            None if version is None else version.manifest_digest,
            arm.split_id,
            arm.arm,
            arm.unit_source,
            call.dialect.name,
            request.body.get("n"),
            None if request.max_output_tokens is None else request.bounded_by_us,
            engine_url,
        )
        self._started_at_ms = 0
        self._began_s = 0.0

    def __enter__(self) -> EngineCount:
        self._started_at_ms = self._bill.now_ms()
        self._began_s = time.perf_counter()
        try:
            self._journal.intent(self._attempt_id, self._kind, begun(self._started_at_ms))
        except OSError as error:
            raise _unrecorded(error) from error
        return self._count

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        count = self._count
        usage = self.usage = self._used(count)
        outcome = self.outcome = "ok" if error is None else _outcome(error)
        self.nano = self._bill.charge(usage, outcome, self._started_at_ms)
        values = ended(
            self._started_at_ms,
            self._started_at_ms + int((time.perf_counter() - self._began_s) * 1000),
            outcome,
            usage,
            self.nano,
            None if count.began_s is None else int((count.began_s - self._began_s) * 10_000) / 10,
        )
        self._journal.settle(self._attempt_id, self._kind, values)

    def _used(self, count: EngineCount) -> Usage:
        """What the engine has told of; what it may have read without a word is estimated.

        Four characters a token is a rule of thumb for English, and no more than was held is ever booked. What was
        generated stays unknown, and so unmetered.
        """
        if count.source is not None or not count.sent:
            return Usage(count.prompt_tokens, count.cached_tokens, count.completion_tokens, count.source)
        body = self._request.body
        guess = math.ceil(len(orjson.dumps(body[self._request.dialect.prompt_field(body)])) / 4)
        return Usage(prompt_tokens=min(guess, self._bill.held_prompt or guess), source="estimated")


def _unrecorded(error: OSError) -> Overloaded:
    """What cannot be recorded is not served."""
    UNRECORDED.say("usage cannot be recorded", error)
    return Overloaded("Usage cannot be recorded now.", code="metering_unavailable", retry_after_s=10)


def _outcome(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "client_aborted" if error.args == (CLIENT_GONE,) else "gateway_stopped"
    if isinstance(error, ApiError) and error.status < 500:
        return "rejected"
    if isinstance(error, CannotLoad | Overloaded):
        return "load_failed"
    return "engine_failed"
