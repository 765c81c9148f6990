"""One durable usage row for each attempt, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from types import TracebackType
from typing import Any

import orjson

from gateway.complaints import Complaint
from gateway.engines.connection import CannotLoad
from gateway.engines.engine import Engine
from gateway.errors import AnswerTooLong, ApiError, NotStored, NotWanted, Overloaded, RateLimited
from gateway.handoffs import CLIENT_GONE, KEY_OVER, Admitted, EngineCount, Usage
from gateway.journal.journal import Journal
from gateway.journal.rows import Kind, begun, ended, kind_of
from gateway.sealed_body import SealedBody
from registry.ledger.usage_record import UsageEnd, UsageKind

log = logging.getLogger("switchyard.meter")
UNRECORDED = Complaint(log)
NOTHING_USED = Usage()
MOST_KINDS = 4096
_KINDS: dict[tuple[Any, ...], Kind] = {}


class Meter:
    """Writes an intent on entering and a settle record on leaving; the value is the count to fill in between.

    Both are plain appends to the journal, so a kill -9 right after either loses nothing.
    """

    __slots__ = (
        "_attempt_id",
        "_bill",
        "_count",
        "_journal",
        "_kind",
        "_request",
        "_shadow",
        "_started_at_ms",
        "_unit_hash",
        "began_s",
        "engine_url",
        "nano",
        "outcome",
        "usage",
    )

    def __init__(self, journal: Journal, admitted: Admitted, engine: Engine, number: int) -> None:
        """Of the attempt `number` of a request, or of its copy, on one engine. The bill is charged when the attempt has
        ended, unless it is a copy's.
        """
        request, arm = admitted.request, admitted.arm
        self._journal = journal
        self._bill = admitted.bill
        self._request = request
        self._count = EngineCount()
        self.engine_url = engine.url
        self.outcome = ""
        self.nano: int | None = None
        self.usage = NOTHING_USED
        self._shadow = admitted.shadow
        self._attempt_id = (b"%b-s%d" if self._shadow else b"%b-%d") % (
            admitted.call.request_id.encode(),
            number,
        )
        chosen, unit = arm.assignment, admitted.unit
        self._unit_hash = admitted.unit_hash
        key = (  # what tells kinds apart, which is less than what they say: it is made for every attempt
            admitted.principal.key_id,
            request.model,
            arm.public_name,
            None if chosen is None else chosen.split_id,
            None if unit is None else unit.source,
            admitted.call.dialect.name,
            request.body.get("n"),
            None if request.max_output_tokens is None else request.bounded_by_us,
            engine.url,
            engine.id,
            self._shadow,
        )
        self._kind = _KINDS.get(key) or _new_kind(admitted, engine, key)
        self._started_at_ms = 0
        self.began_s = 0.0

    def __enter__(self) -> EngineCount:
        self._started_at_ms = self._bill.now_ms()
        self.began_s = time.perf_counter()
        try:
            self._journal.intent(self._attempt_id, self._kind, begun(self._started_at_ms, self._unit_hash))
        except OSError as error:
            raise _unrecorded(error) from error
        return self._count

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        count = self._count
        usage = self.usage = self._used(count)
        outcome = self.outcome = "ok" if error is None else _outcome(error)
        if self._shadow:
            self.nano = self._bill.cost(usage, outcome)
        else:
            self.nano = self._bill.charge(usage, outcome, self._started_at_ms)
        end = UsageEnd(
            self._started_at_ms,
            self._started_at_ms + int((time.perf_counter() - self.began_s) * 1000),
            outcome,
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            usage.source,
            self.nano,
            None if count.began_s is None else int((count.began_s - self.began_s) * 10_000) / 10,
            self._unit_hash,
        )
        self._journal.settle(self._attempt_id, self._kind, ended(end))
        del self._request  # the request log may have this attempt for a while, and would keep the body

    @property
    def first_bytes_s(self) -> float | None:
        """Seconds from its begin to the first bytes of a streamed answer, if they came."""
        return None if self._count.began_s is None else self._count.began_s - self.began_s

    def _used(self, count: EngineCount) -> Usage:
        """What the engine has told of; what it may have read without a word is estimated.

        No more than was held is ever booked, whatever the engine has told. Four characters a token is a rule of thumb
        for English. What was generated without a word stays unknown, and so unmetered.
        """
        if count.source is not None or not count.sent:
            told = Usage(count.prompt_tokens, count.cached_tokens, count.completion_tokens, count.source)
            return self._bill.within(told)
        body = self._request.body
        prompt = self._request.dialect.prompt_field(body)
        written = body.written(prompt) if isinstance(body, SealedBody) else orjson.dumps(body[prompt])
        guess = math.ceil(len(written) / 4)
        return Usage(prompt_tokens=min(guess, self._bill.held_prompt or guess), source="estimated")


def _new_kind(admitted: Admitted, engine: Engine, key: tuple[Any, ...]) -> Kind:
    if len(_KINDS) >= MOST_KINDS:
        _KINDS.clear()
    kind = _KINDS[key] = kind_of(_common(admitted, engine))
    return kind


def _common(admitted: Admitted, engine: Engine) -> UsageKind:
    principal, request, arm = admitted.principal, admitted.request, admitted.arm
    version, chosen, unit = arm.version, arm.assignment, admitted.unit
    asked = version or arm.through
    return UsageKind(
        tenant=principal.tenant,
        key_id=principal.key_id,
        requested_model=request.model,
        served_model=arm.public_name,
        endpoint=admitted.call.dialect.name,
        engine=engine.url,
        engine_id=engine.id or engine.url,
        adapter_id=None if asked is None else asked.adapter_id,
        version_id=None if version is None else version.id,
        version_digest=None if version is None else version.manifest_digest,
        split_id=None if chosen is None else chosen.split_id,
        arm=None if chosen is None else chosen.arm,
        propensity=None if chosen is None else chosen.propensity,
        unit_source=None if chosen is None or unit is None else unit.source,
        n=request.body.get("n"),
        bounded_by_us=None if request.max_output_tokens is None else request.bounded_by_us,
        shadow=admitted.shadow,
    )


def _unrecorded(error: OSError) -> Overloaded:
    """What cannot be recorded is not served."""
    UNRECORDED.report("usage cannot be recorded", error)
    return Overloaded("Usage cannot be recorded now.", code="metering_unavailable", retry_after_s=10)


OF_CANCELLED = {(CLIENT_GONE,): "client_aborted", (KEY_OVER,): "key_revoked"}
"""By what a `CancelledError` says."""


def _outcome(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return OF_CANCELLED.get(error.args, "gateway_stopped")
    if isinstance(error, NotWanted | AnswerTooLong | RateLimited):  # what it did not take was made for it
        return "client_aborted"
    if isinstance(error, ApiError) and error.status < 500:
        return "rejected"
    if isinstance(error, NotStored):
        return "not_stored"
    if isinstance(error, CannotLoad | Overloaded):
        return "load_failed"
    return "engine_failed"
