"""One durable usage row for each attempt, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from gateway.cost.journal import Journal
from gateway.errors import ApiError, Overloaded
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


class Meter:
    """Writes an intent on entering and a settle record on leaving; the value is the `Usage` to fill in between.

    Both are plain appends to the journal, so a kill -9 right after either loses nothing.
    """

    __slots__ = ("_attempt_id", "_journal", "_metered", "_started_at_ms", "usage")

    def __init__(self, journal: Journal, metered: Metered) -> None:
        self._journal = journal
        self._metered = metered
        self._attempt_id = f"{metered.call.request_id}-{metered.number}"
        self._started_at_ms = 0
        self.usage = Usage()

    def __enter__(self) -> Usage:
        self._started_at_ms = time.time_ns() // 1_000_000
        with _recorded():
            self._journal.intent(self._row("lost", None))
        return self.usage

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _recorded():
            self._journal.settle(self._row(_outcome(error), time.time_ns() // 1_000_000))

    def _row(self, outcome: str, finished_at_ms: int | None) -> dict[str, object]:
        metered, arm = self._metered, self._metered.arm
        return {
            "attempt_id": self._attempt_id,
            "request_id": metered.call.request_id,
            "tenant": metered.principal.tenant,
            "key_id": metered.principal.key_id,
            "requested_model": metered.requested_model,
            "served_model": arm.public_name,
            "split_id": arm.split_id,
            "arm": arm.arm,
            "unit_source": arm.unit_source,
            "endpoint": metered.call.endpoint,
            "engine": metered.engine_url,
            "outcome": outcome,
            "prompt_tokens": self.usage.prompt_tokens,
            "cached_tokens": self.usage.cached_tokens,
            "completion_tokens": self.usage.completion_tokens,
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
        return "client_gone"
    if isinstance(error, ApiError) and error.status < 500:
        return "rejected"
    return "engine_error"
