"""One durable usage row for each attempt, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

import orjson

from gateway.cost.journal import Journal
from gateway.cost.limits import Bill
from gateway.errors import ApiError, Overloaded
from gateway.fleet.view import CannotLoad
from gateway.handoffs import Arm, Call, Principal, Usage

log = logging.getLogger("switchyard.meter")


class Metered(NamedTuple):
    """What an attempt's row says before its outcome is known."""

    call: Call
    principal: Principal
    requested_model: str
    arm: Arm
    engine_url: str
    number: int
    body: Mapping[str, Any]
    """What goes to the engine; read only to estimate a prompt that no engine has counted."""
    bounded_by_us: bool | None
    """Whether the bound of the answer is ours or the client's; `None`: it has none."""
    bill: Bill
    """Charged when the attempt has ended."""


class Meter:
    """Writes an intent on entering and a settle record on leaving; the value is the `Usage` to fill in between.

    Both are plain appends to the journal, so a kill -9 right after either loses nothing.
    """

    __slots__ = ("_began_s", "_journal", "_metered", "_row", "usage")

    def __init__(self, journal: Journal, metered: Metered) -> None:
        self._journal = journal
        self._metered = metered
        self._began_s = 0.0
        self._row: dict[str, Any] = {}
        """The intent's, and, filled in, that of the settle record: each is encoded when it is written."""
        self.usage = Usage()

    def __enter__(self) -> Usage:
        call, principal, requested_model, arm, engine_url, number, body, bounded_by_us, _ = self._metered
        version = arm.version
        self._row = {
            "attempt_id": f"{call.request_id}-{number}",
            "request_id": call.request_id,
            "tenant": principal.tenant,
            "key_id": principal.key_id,
            "requested_model": requested_model,
            "served_model": arm.public_name,
            "version_digest": None if version is None else version.manifest_digest,
            "split_id": arm.split_id,
            "arm": arm.arm,
            "unit_source": arm.unit_source,
            "endpoint": call.endpoint,
            "n": body.get("n"),
            "bounded_by_us": bounded_by_us,
            "engine": engine_url,
            "outcome": "lost",
            "prompt_tokens": None,
            "cached_tokens": None,
            "completion_tokens": None,
            "usage_source": None,
            "cost_nano": None,
            "ttft_ms": None,
            "started_at_ms": time.time_ns() // 1_000_000,
            "finished_at_ms": None,
        }
        self._began_s = time.perf_counter()
        try:
            self._journal.intent(self._row)
        except OSError as error:
            raise _unrecorded(error) from error
        return self.usage

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        usage, row = self.usage, self._row
        outcome = "ok" if error is None else _outcome(error)
        if usage.source is None and usage.sent:
            self._estimate()
        row["outcome"] = outcome
        row["prompt_tokens"] = usage.prompt_tokens
        row["cached_tokens"] = usage.cached_tokens
        row["completion_tokens"] = usage.completion_tokens
        row["usage_source"] = usage.source
        row["cost_nano"] = self._metered.bill.charge(usage, outcome, row["started_at_ms"])
        if usage.began_s is not None:
            row["ttft_ms"] = round((usage.began_s - self._began_s) * 1000, 1)
        row["finished_at_ms"] = time.time_ns() // 1_000_000
        self._journal.settle(row)

    def _estimate(self) -> None:
        """The engine may have read the prompt and has told us nothing: so say about how long it was, and that we guess.

        Four characters a token is a rule of thumb for English. What was generated stays unknown, and so unmetered.
        """
        prompt = self._metered.body.get("messages") or self._metered.body.get("prompt")
        self.usage.prompt_tokens = math.ceil(len(orjson.dumps(prompt)) / 4)
        self.usage.source = "estimated"


def _unrecorded(error: OSError) -> Overloaded:
    """What cannot be recorded is not served."""
    log.error("usage cannot be recorded: %s", error)
    return Overloaded("Usage cannot be recorded now.", code="metering_unavailable", retry_after_s=10)


def _outcome(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "client_aborted"
    if isinstance(error, ApiError) and error.status < 500:
        return "rejected"
    if isinstance(error, CannotLoad | Overloaded):
        return "load_failed"
    return "engine_failed"
