"""Locust users for a gateway: every user is a tenant that mixes chat and completions, streamed and not.

    SWITCHYARD_LOAD_KEYS=keys.json locust -f loadtest/locustfile.py --host http://127.0.0.1:8080

Beside the requests it reports `TTFT` (milliseconds to the first text of a stream) and `gap` (between two texts). A
wrong model, another tenant's model, a missing [DONE] or missing usage is a failure. With SWITCHYARD_LOAD_OUT set, the
figures are written there as JSON when the test ends (`loadtest.run` does this).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter, defaultdict
from itertools import count
from pathlib import Path
from typing import Any

from gevent import get_hub
from locust import User, between, events

from loadtest.figures import summary
from loadtest.scenario import Ask, Caller, Outcome, next_ask, read_tenants

KEYS, OUT, MAX_TOKENS = "SWITCHYARD_LOAD_KEYS", "SWITCHYARD_LOAD_OUT", "SWITCHYARD_LOAD_MAX_TOKENS"
NO_REQUESTS = 0.001


class Figures:
    """Every measured time of this run, for exact percentiles."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.failures: Counter[str] = Counter()
        self.started = time.perf_counter()

    def see(self, ask: Ask, outcome: Outcome) -> None:
        """Count one outcome."""
        self.times[ask.kind].append(outcome.total_ms)
        if outcome.failure is not None:
            self.failures[outcome.failure] += 1
        if outcome.ttft_ms is not None:
            self.times["TTFT"].append(outcome.ttft_ms)
        self.times["gap"].extend(outcome.gaps_ms)

    def report(self) -> dict[str, Any]:
        """JSON-ready figures; times are milliseconds."""
        kinds = {kind: times for kind, times in self.times.items() if kind not in ("TTFT", "gap")}
        everything = [value for times in kinds.values() for value in times]
        seconds = max(time.perf_counter() - self.started, NO_REQUESTS)
        return {
            "requests": len(everything),
            "failures": self.failures.total(),
            "rps": round(len(everything) / seconds, 2),
            "latency_ms": summary(everything),
            "ttft_ms": summary(self.times["TTFT"]),
            "gap_ms": summary(self.times["gap"]),
            "kinds": {kind: {"requests": len(times), **summary(times)} for kind, times in sorted(kinds.items())},
            "failure_examples": dict(self.failures.most_common(5)),
        }


def prepare(environment: Any, **_: Any) -> None:
    """Read the keys once; a missing file ends the run before it begins.

    Timers of gevent count from when its loop ran last, which is before all imports: on a busy machine the time of the
    run would be over when it begins. So the loop is told how late it is.
    """
    get_hub().loop.update_now()
    if KEYS not in os.environ:
        raise SystemExit(f"{KEYS} is not set; give the path of a JSON list of {{'key', 'models'}}")
    environment.tenants = read_tenants(Path(os.environ[KEYS]))
    environment.max_tokens = int(os.environ.get(MAX_TOKENS, "16"))
    environment.turns = count()
    environment.figures = Figures()


def begin(environment: Any, **_: Any) -> None:
    """Time counts from here."""
    environment.figures = Figures()


def finish(environment: Any, **_: Any) -> None:
    """Write the report."""
    if OUT in os.environ:
        Path(os.environ[OUT]).write_text(json.dumps(environment.figures.report()))


events.init.add_listener(prepare)
events.test_start.add_listener(begin)
events.test_stop.add_listener(finish)


class TenantUser(User):  # type: ignore[misc]  # locust ships no types
    """A client of one tenant; tenants are dealt out in turn."""

    wait_time = between(0.0, 0.02)

    def on_start(self) -> None:
        """Take the next tenant and open a connection of one's own."""
        turn = next(self.environment.turns)
        tenants = self.environment.tenants
        self.draw = random.Random(turn)
        self.caller = Caller(self.host or self.environment.host, tenants[turn % len(tenants)])

    def on_stop(self) -> None:
        """Close the connection."""
        self.caller.close()

    def ask(self) -> None:
        """One request, and up to two extra events for a stream."""
        asked = next_ask(self.caller.tenant, self.draw, self.environment.max_tokens)
        outcome = self.caller.call(asked)
        self.environment.figures.see(asked, outcome)
        error = None if outcome.failure is None else AssertionError(outcome.failure)
        self._fire("POST", asked.kind, outcome.total_ms, outcome.length, error)
        if outcome.ttft_ms is not None:
            self._fire("SSE", "TTFT", outcome.ttft_ms)
        for gap in outcome.gaps_ms:
            self._fire("SSE", "gap", gap)

    def _fire(self, kind: str, name: str, ms: float, length: int = 0, error: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type=kind, name=name, response_time=ms, response_length=length, exception=error, context={}
        )


TenantUser.tasks = [TenantUser.ask]
