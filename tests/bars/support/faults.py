"""What a chaos run does to the fleet: a seeded plan, and its execution on processes."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from loadtest.chaos import Fault, Return
from registry.fleet.leadership import Leadership
from tests.bars.support.engines import EngineProcess

KINDS = (
    "kill",
    "controller",
    "hang",
    "no LoRA",
    "500 on loads",
    "400 on requests",
    "slow loads",
    "hang, then kill",
    "half load",
    "forget",
)
"""Every plan has them in this order once, as far as it goes, and then shuffled.

kill: SIGKILL and a new boot a moment later. controller: SIGKILL of the fleet's one writer. hang: the engine's core
stands still under a /health of 200, until it goes on or is killed. slow loads: each stalls the whole engine for 0.3 s.
no LoRA, 500 on loads, 400 on requests: killed, and back without applying adapters, or refusing every load or every
request of clients, until the fleet refuses it.
half load: a load answers 200, and the adapter is not there. forget: the engine loses every adapter but keeps running.
"""
BROKEN = {"no LoRA": "--noop-adapters", "500 on loads": "--fail-loads=500", "400 on requests": "--refuse-requests=400"}
"""Kinds of a boot that must not serve, and the options of the mock that make it one."""
BROKEN_AT_MOST_S = 15.0
REFUSED_FOR_S = 1.0
DOWN_S, SLOW_FOR_S, SLOW_LOAD_MS = 1.5, 3.0, 300.0
CALM_S = 4.0
"""No fault begins in the last seconds."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault. `engine` is the index of its engine, also when it concerns none; one that is still down from another
    fault is spared, and the next takes its place; nothing is done while all are.
    """

    at_s: float
    kind: str
    engine: int

    def __str__(self) -> str:
        where = "" if self.kind == "controller" else f" of engine {self.engine}"
        return f"{self.at_s:5.1f} s  {self.kind}{where}"


def plan_faults(seed: int, seconds: float, first_s: float, every_s: float, engines: int) -> tuple[Planned, ...]:
    """Faults about `every_s` apart, never twice in a row on one engine, calm at the end. Pure."""
    draw = random.Random(seed)
    count = max(2, int((seconds - first_s - CALM_S) / every_s) + 1)
    kinds = list(KINDS[:count])
    while len(kinds) < count:
        kinds += draw.sample(KINDS, len(KINDS))
    planned: list[Planned] = []
    for number, kind in enumerate(kinds[:count]):
        others = [engine for engine in range(engines) if not planned or engine != planned[-1].engine]
        at_s = first_s + number * every_s + draw.uniform(0, 0.1 * every_s)
        planned.append(Planned(at_s, kind, draw.choice(others)))
    return tuple(planned)


@dataclass(frozen=True, slots=True)
class BrokenBoot:
    """A boot of an engine that must not serve, and after how many seconds the fleet refused it; `None`: it did not."""

    kind: str
    engine: str
    refused_after_s: float | None


@dataclass
class Chaos:
    """Executes a plan, from one thread. What really happened, and when, is in `faults` and `returns`."""

    engines: Sequence[EngineProcess]
    leadership: Leadership
    hung_s: float
    """How long an engine that hangs does so."""
    readiness: Callable[[], dict[str, Any]]
    """What the gateway says of its engines."""
    broken: list[BrokenBoot] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
    """`served` is not known here."""
    _due: list[tuple[float, str, int]] = field(default_factory=list)
    """What has to be undone: monotonic time, what, engine."""
    _broken_s: dict[int, tuple[str, float]] = field(default_factory=dict)
    """Engine → how its boot is broken, and `time.monotonic()` of its start."""

    def run(self, plan: Sequence[Planned]) -> None:
        """Do all of it and undo what has an end; returns when every engine is back."""
        began = time.monotonic()
        left = list(plan)
        while left or self._due:
            self._due.sort()
            now = time.monotonic()
            if self._due and self._due[0][0] <= now:
                _, what, engine = self._due.pop(0)
                self._undo(what, engine)
            elif left and left[0].at_s <= now - began:
                self._do(left.pop(0))
            else:
                time.sleep(0.01)

    def _do(self, fault: Planned) -> None:
        down = {number for _, _, number in self._due}
        turns = ((fault.engine + turn) % len(self.engines) for turn in range(len(self.engines)))
        up = [number for number in turns if number not in down]
        if fault.kind != "controller" and not up:
            return
        fault = replace(fault, engine=next(iter(up), fault.engine))
        engine = self.engines[fault.engine]
        print(f"\r\033[K{fault}" if sys.stderr.isatty() else fault, file=sys.stderr, flush=True)
        began = time.time()
        kind, url = fault.kind, engine.url
        if kind == "controller":
            url = ""
            os.kill(_leader(self.leadership), signal.SIGKILL)
        elif kind == "kill":
            engine.kill()
            self._later(DOWN_S, "start", fault.engine)
        elif kind in BROKEN:
            engine.kill()
            self._later(DOWN_S, f"start: {kind}", fault.engine)
            kind = "kill"
        elif kind in ("hang", "hang, then kill"):
            engine.fault(hang=True)
            self._later(self.hung_s, "wake" if kind == "hang" else "kill", fault.engine)
            kind = "hang"
        elif kind == "slow loads":
            engine.fault(load_stall_ms=SLOW_LOAD_MS)
            self._later(SLOW_FOR_S, "fast loads", fault.engine)
        elif kind == "half load":
            engine.fault(half_load=True)
            self._later(SLOW_FOR_S, "whole loads", fault.engine)
        elif kind == "forget":
            engine.forget()
        self.faults.append(Fault(kind, url or None, began, time.time()))

    def _undo(self, what: str, number: int) -> None:
        engine = self.engines[number]
        if what == "start":
            engine.start()
            self._later(0.0, "look", number)
        elif what.startswith("start: "):
            kind = what.removeprefix("start: ")
            engine.start(BROKEN[kind])
            self._broken_s[number] = (kind, time.monotonic())
            self._later(0.0, "await refusal", number)
        elif what == "await refusal":
            self._await_refusal(number)
        elif what == "kill":
            began = time.time()
            engine.kill()
            self.faults.append(Fault("kill", engine.url, began, time.time()))
            self._later(DOWN_S, "start", number)
        elif what == "wake":
            engine.fault(hang=False)
            self._later(0.0, "look", number)
        elif what == "fast loads":
            engine.fault(load_stall_ms=0.0)
        elif what == "whole loads":
            engine.fault(half_load=False)
        elif _is_healthy(engine):
            self.returns.append(Return(engine.url, time.time(), None))
        else:
            self._later(0.03, "look", number)

    def _await_refusal(self, number: int) -> None:
        """Until the fleet has refused the engine, or that took too long: then it is killed, and comes back whole."""
        kind, since_s = self._broken_s[number]
        url, took_s = self.engines[number].url, time.monotonic() - since_s
        refused = _says_refused(self.readiness, url)
        if not refused and took_s < BROKEN_AT_MOST_S:
            self._later(0.05, "await refusal", number)
            return
        self.broken.append(BrokenBoot(kind, url, round(took_s, 3) if refused else None))
        self._later(REFUSED_FOR_S, "kill", number)

    def _later(self, after_s: float, what: str, engine: int) -> None:
        self._due.append((time.monotonic() + after_s, what, engine))


def _leader(leadership: Leadership) -> int:
    """The process that holds the fleet's lease. Raises RuntimeError when nobody does."""
    lease = leadership.current()
    if lease is None:
        raise RuntimeError("no controller leads: there is none to kill")
    return int(lease.holder.split("-")[-2])


def _says_refused(readiness: Callable[[], dict[str, Any]], engine_url: str) -> bool:
    try:
        return str(readiness()["engines"][engine_url]).startswith("refused")
    except httpx.HTTPError:
        return False


def _is_healthy(engine: EngineProcess) -> bool:
    try:
        return httpx.get(f"{engine.url}/health", timeout=1.0).status_code == 200
    except httpx.HTTPError:
        return False
