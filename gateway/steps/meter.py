"""One durable usage row for each attempt, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import orjson

from gateway.cost.journal import Journal
from gateway.cost.limits import Bill
from gateway.errors import ApiError, Overloaded
from gateway.fleet.view import CannotLoad
from gateway.handoffs import Arm, Call, Principal, Usage

log = logging.getLogger("switchyard.meter")


@dataclass(frozen=True, slots=True)
class Metered:
    """What an attempt's row says before its outcome is known."""

    call: Call
    principal: Principal
    requested_model: str
    arm: Arm
    engine_url: str
    number: int
    body: Mapping[str, Any]
    """What goes to the engine; read only to estimate a prompt that no engine has counted."""
    bill: Bill
    """Charged when the attempt has ended."""


class Meter:
    """Writes an intent on entering and a settle record on leaving; the value is the `Usage` to fill in between.

    Both are plain appends to the journal, so a kill -9 right after either loses nothing.
    """

    __slots__ = ("_attempt_id", "_began_s", "_cost_nano", "_journal", "_metered", "_started_at_ms", "usage")

    def __init__(self, journal: Journal, metered: Metered) -> None:
        self._journal = journal
        self._metered = metered
        self._attempt_id = f"{metered.call.request_id}-{metered.number}"
        self._started_at_ms = 0
        self._began_s = 0.0
        self._cost_nano: int | None = None
        self.usage = Usage()

    def __enter__(self) -> Usage:
        self._started_at_ms = time.time_ns() // 1_000_000
        self._began_s = time.perf_counter()
        with _recorded():
            self._journal.intent(self._row("lost", None))
        return self.usage

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = _outcome(error)
        if self.usage.sent and self.usage.source is None:
            self._estimate()
        self._cost_nano = self._metered.bill.charge(self.usage, outcome, self._started_at_ms)
        with _recorded():
            self._journal.settle(self._row(outcome, time.time_ns() // 1_000_000))

    def _estimate(self) -> None:
        """The engine may have read the prompt and has told us nothing: so say about how long it was, and that we guess.

        Four characters a token is a rule of thumb for English. What was generated stays unknown, and so unmetered.
        """
        prompt = self._metered.body.get("messages") or self._metered.body.get("prompt")
        self.usage.prompt_tokens = math.ceil(len(orjson.dumps(prompt)) / 4)
        self.usage.source = "estimated"

    def _row(self, outcome: str, finished_at_ms: int | None) -> dict[str, object]:
        metered, arm = self._metered, self._metered.arm
        return {
            "attempt_id": self._attempt_id,
            "request_id": metered.call.request_id,
            "tenant": metered.principal.tenant,
            "key_id": metered.principal.key_id,
            "requested_model": metered.requested_model,
            "served_model": arm.public_name,
            "version_digest": arm.version.manifest_digest if arm.version else None,
            "split_id": arm.split_id,
            "arm": arm.arm,
            "unit_source": arm.unit_source,
            "endpoint": metered.call.endpoint,
            "n": metered.body.get("n"),
            "engine": metered.engine_url,
            "outcome": outcome,
            "prompt_tokens": self.usage.prompt_tokens,
            "cached_tokens": self.usage.cached_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "usage_source": self.usage.source,
            "cost_nano": self._cost_nano,
            "ttft_ms": None if self.usage.began_s is None else round((self.usage.began_s - self._began_s) * 1000, 1),
            "started_at_ms": self._started_at_ms,
            "finished_at_ms": finished_at_ms,
        }


@contextmanager
def _recorded() -> Iterator[None]:
    """What cannot be recorded is not served."""
    try:
        yield
    except OSError as error:
        log.error("usage cannot be recorded: %s", error)
        raise Overloaded("Usage cannot be recorded now.", code="metering_unavailable", retry_after_s=10) from error


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, asyncio.CancelledError):
        return "client_aborted"
    if isinstance(error, ApiError) and error.status < 500:
        return "rejected"
    if isinstance(error, CannotLoad | Overloaded):
        return "load_failed"
    return "engine_failed"
