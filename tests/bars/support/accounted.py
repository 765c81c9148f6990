"""A gateway whose accounting is taken out in parts while it serves: `python -m tests.bars.support.accounted`.

It is configured by its environment, as any gateway. Each line on stdin is an order and is answered by one line of JSON:
`VARY` to take out one part after the other, `TIME` to have all parts and a clock around each call of the journal,
`FIGURES` for what it has used of the processor and done since it began to serve, `SAMPLES` for what was measured.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

from sqlalchemy import Engine as SqlEngine
from sqlalchemy import event

from gateway import path
from gateway.api.asgi import Receive, Send
from gateway.api.dialects import BY_PATH
from gateway.api.respond import Respond
from gateway.app import Gateway
from gateway.engines.engine import Engine
from gateway.handoffs import Admitted, Endpoint, EngineCount, Usage
from gateway.house import House
from gateway.journal.journal import Journal
from gateway.metrics.worker import Metrics
from gateway.serving.server import Server, server_config
from gateway.settings import GatewaySettings
from tests.support.waiting import wait_until

READY, VARY, TIME, FIGURES, SAMPLES = "ready", "vary", "time", "figures", "samples"
EVERYTHING, NO_JOURNAL, NO_LIMITS, NO_METRICS = VARIANTS = "everything", "no journal", "no limits", "no metrics"
SETTLING, COUNTED = 32, 96
"""Requests from the change of a variant until what they cost counts, and those of which it does."""
SEED = 4


class NoMeter:
    """What is left of a meter when nothing is recorded: the attempt is still charged to its bill."""

    outcome = "ok"
    nano: int | None = None
    began_s = 0.0

    def __init__(self, _journal: Journal, admitted: Admitted, engine: Engine, _number: int) -> None:
        self.engine_url, self._bill = engine.url, admitted.bill
        self.usage = Usage()
        self._count = EngineCount()

    def __enter__(self) -> EngineCount:
        return self._count

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        count = self._count
        self.usage = Usage(count.prompt_tokens, count.cached_tokens, count.completion_tokens, count.source)
        self._bill.charge(self.usage, "ok" if error is None else "engine_failed", self._bill.now_ms())


class NoBill:
    """A bill that nobody has to pay."""

    headers = ()
    held_prompt = most_prompt = 0
    price = None

    def within(self, usage: Usage) -> Usage:
        """Nothing is held."""
        return usage

    def charge(self, usage: Usage, outcome: str, started_at_ms: int) -> None:
        """Costs nothing."""

    def now_ms(self) -> int:
        """No request is booked by it."""
        return 0

    def __enter__(self) -> NoBill:
        return self

    def __exit__(self, *_: object) -> None:
        pass


async def no_hold(*of: Any) -> tuple[Any, Any]:
    """A request that is held for nothing."""
    return of[-1], NoBill()


async def no_entry(*_: Any) -> NoBill:
    """A request that is not counted when it comes in."""
    return NoBill()


class NoMetrics(Metrics):
    """Counts nothing."""

    def came(self) -> None:
        """Not counted."""

    def answered(self, endpoint: Endpoint, ended: Respond, took_s: float) -> None:
        """Not counted."""


class TimedJournal:
    """The journal, with a clock around each record."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.took_ns: list[int] = []

    def intent(self, *of: Any) -> None:
        """Timed."""
        self._time(self._journal.intent, of)

    def settle(self, *of: Any) -> None:
        """Timed."""
        self._time(self._journal.settle, of)

    def _time(self, write: Callable[..., None], of: tuple[Any, ...]) -> None:
        began = time.perf_counter_ns()
        try:
            write(*of)
        finally:
            self.took_ns.append(time.perf_counter_ns() - began)


class Syncs:
    """Who waits for the disk: calls of fsync, and of SQL, which may make some of its own, by whether it is the loop."""

    def __init__(self) -> None:
        self.fsyncs = {True: 0, False: 0}
        self.statements = {True: 0, False: 0}
        for name in ("fsync", "fdatasync", "sync"):
            setattr(os, name, self._noting(getattr(os, name)))
        event.listen(SqlEngine, "before_cursor_execute", self._note_statement)

    def _noting(self, sync: Callable[..., None]) -> Callable[..., None]:
        def noted(*of: Any) -> None:
            self.fsyncs[_on_the_loop()] += 1
            sync(*of)

        return noted

    def _note_statement(self, *_: object) -> None:
        self.statements[_on_the_loop()] += 1


def _on_the_loop() -> bool:
    return threading.current_thread() is threading.main_thread()


class Variants:
    """Takes one part out for a while, then another one, and notes what a request has cost meanwhile."""

    def __init__(self, house: House) -> None:
        self._house, self._without_metrics = house, replace(house, metrics=NoMetrics())
        self._path, self._attempt = vars(path), vars(sys.modules["gateway.steps.attempt"])
        self._meter, self._hold = self._attempt["Meter"], self._path["hold"]
        self._limits = vars(house.limits)
        self._enter = house.limits.enter
        self._draw = random.Random(SEED)
        self._variant, self._came, self._began_ns = EVERYTHING, 0, 0
        self.cost_ns: dict[str, list[float]] = {name: [] for name in VARIANTS}
        """Nanoseconds of the event loop's thread for a request, one number for each time that a variant served."""

    def next_request(self) -> House:
        """What serves the request that comes now. Those of the variant before have ended when they begin to count."""
        self._came += 1
        if self._came == SETTLING + COUNTED:
            self.cost_ns[self._variant].append((time.thread_time_ns() - self._began_ns) / COUNTED)
            self._take_out(self._draw.choice(VARIANTS))
            self._came = 0
        if self._came == SETTLING:
            self._began_ns = time.thread_time_ns()
        return self._without_metrics if self._variant == NO_METRICS else self._house

    def _take_out(self, variant: str) -> None:
        self._variant = variant
        self._attempt["Meter"] = NoMeter if variant == NO_JOURNAL else self._meter
        self._path["hold"] = no_hold if variant == NO_LIMITS else self._hold
        self._limits["enter"] = no_entry if variant == NO_LIMITS else self._enter

    def end(self) -> House:
        """Everything is back."""
        self._take_out(EVERYTHING)
        return self._house


class Accounted(Gateway):
    """A gateway and its variants."""

    variants: Variants | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One connection event."""
        if self.variants is not None and scope["type"] == "http" and scope["path"] in BY_PATH:
            self.house = self.variants.next_request()
        await super().__call__(scope, receive, send)


class Orders:
    """Obeys stdin, in a thread of its own."""

    def __init__(self, gateway: Accounted, syncs: Syncs) -> None:
        """The gateway serves by now."""
        assert gateway.house is not None
        self._gateway, self._syncs = gateway, syncs
        self._journal = gateway.house.journal
        self._variants = Variants(gateway.house)
        self._timed: Any = TimedJournal(self._journal)
        (self._shipper,) = (thread for thread in threading.enumerate() if thread.name == "usage-shipper")

    def obey(self, order: str) -> dict[str, Any]:
        """One line; the answer to it."""
        if order == VARY:
            self._gateway.variants = self._variants
        elif order == TIME:
            self._gateway.variants = None
            self._gateway.house = replace(self._variants.end(), journal=self._timed)
        elif order == SAMPLES:
            return {"cost_ns": self._variants.cost_ns, "took_ns": self._timed.took_ns}
        return {
            "process_ns": time.process_time_ns(),
            "shipper_ns": _cpu_ns(self._shipper),
            "unshipped_bytes": self._journal.unshipped_bytes,
            "fsyncs": sum(self._syncs.fsyncs.values()),
            "loop_fsyncs": self._syncs.fsyncs[True],
            "statements": sum(self._syncs.statements.values()),
            "loop_statements": self._syncs.statements[True],
        }


def _cpu_ns(thread: threading.Thread) -> int:
    assert thread.ident is not None
    return time.clock_gettime_ns(time.pthread_getcpuclockid(thread.ident))


def main() -> None:
    """Serve until stdin ends."""
    settings = GatewaySettings()
    gateway = Accounted(settings)
    server = Server(server_config(gateway, settings.host, settings.port, grace_s=5))

    def obey() -> None:
        wait_until("the server to start", lambda: server.started)
        orders = Orders(gateway, Syncs())
        print(READY, flush=True)
        for line in sys.stdin:
            print(json.dumps(orders.obey(line.strip())), flush=True)
        server.should_exit = True

    threading.Thread(target=obey, name="orders", daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
