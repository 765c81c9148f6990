"""Who a simulated engine's work falls to, against what each tenant's requests are known to have cost it.

An engine with continuous batching runs in time of its own: a step takes so long for each prompt token and each
sequence that writes in it. Three tenants send other mixes, more and less of them at other times. The leader's sampling
looks at it once a second; a fit is made of the samples; the bill is divided by it and by the ledger's usage by day.
`attribution_error`: the largest error of a tenant's busy cost, as a share of what its tokens are known to have taken;
`assumed_attribution_error`: the same with the weights that are assumed before there is a fit.
`step_attribution_error`, which has no bar: the same of an engine whose steps take `STEP_MS` besides, of which each
sequence in a step should pay as much. Who runs alone pays more for it, and sums by day do not say who did.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cost.costing import allocation_of
from gateway.cost.weights import NoFit, fit
from gateway.engines.look import Look
from gateway.fleet.sampling import Sampling
from registry.days import DAY_MS
from registry.engine_costs.spans import SeenEngine
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.bars.support.cost import Part

MOST_ERROR = 0.05
HOURS = 2.0
PROMPT_MS, WRITE_MS, STEP_MS = 0.3, 6.0, 8.0
MEAN_GAP_MS = 12_000.0
"""Between requests of a tenant that sends as many as it does on average."""
PROMPT_TOKENS_A_STEP, MOST_RUNNING = 2_048, 64
ENGINE, BASE, KIND = "simulated", "sha256:b", "vllm on gpu"
MIXES = {"retriever": (2_500, 60), "talker": (400, 300), "writer": (80, 900)}
"""Tenant → mean tokens of prompts and of answers."""
DAY = 20_000


@dataclass(slots=True)
class _Request:
    tenant: str
    prompt: int
    answer: int
    began_ms: float
    unread: int = 0
    unwritten: int = 0
    true_ms: float = 0.0
    """What it took of the engine."""

    def __post_init__(self) -> None:
        self.unread, self.unwritten = self.prompt, self.answer


@dataclass(slots=True)
class _Engine:
    """In milliseconds of its own since the day began."""

    step_ms: float
    now_ms: float = 0.0
    queue: deque[_Request] = field(default_factory=deque)
    running: list[_Request] = field(default_factory=list)
    done: list[tuple[_Request, float]] = field(default_factory=list)
    prompts: int = 0
    answers: int = 0
    steps: int = 0

    def step(self) -> None:
        """One of the scheduler."""
        while self.queue and len(self.running) < MOST_RUNNING:
            self.running.append(self.queue.popleft())
        room, took_ms = PROMPT_TOKENS_A_STEP, self.step_ms
        each_ms = self.step_ms / len(self.running)
        for one in self.running:
            own_ms = 0.0
            if one.unread:
                read = min(room, one.unread)
                room, one.unread, own_ms = room - read, one.unread - read, read * PROMPT_MS
                self.prompts += read
            else:
                one.unwritten, own_ms = one.unwritten - 1, WRITE_MS
                self.answers += 1
            took_ms += own_ms
            one.true_ms += own_ms + each_ms
        self.now_ms += took_ms
        self.steps += 1
        self.done += [(one, self.now_ms) for one in self.running if not one.unwritten]
        self.running = [one for one in self.running if one.unwritten]

    def look(self, at_ms: float) -> Look:
        """As its metrics tell it."""
        at = DAY * DAY_MS + int(at_ms)
        return Look(
            1.0, len(self.running), len(self.queue), 0.0, self.steps, None, self.prompts, self.answers, 0, at, at
        )


def measure(folder: Path, scale: float) -> Part:
    """A few hours of the engine's time, fewer at a smaller scale but for what a fit needs."""
    until_ms = max(0.7, HOURS * scale) * 3_600_000
    assumed, fitted = _errors_of(folder / "by tokens", _Engine(0.0), until_ms)
    _, with_steps = _errors_of(folder / "by steps", _Engine(STEP_MS), until_ms)
    error = max(fitted.values())
    return Part(
        figures={
            "attribution_error": round(error, 4),
            "assumed_attribution_error": round(max(assumed.values()), 4),
            "step_attribution_error": round(max(with_steps.values()), 4),
        },
        bars={f"fitted weights attribute known costs within {MOST_ERROR:.0%}": error <= MOST_ERROR},
        detail={"attribution_error_by_tenant": {name: round(found, 4) for name, found in fitted.items()}},
    )


def _errors_of(folder: Path, engine: _Engine, until_ms: float) -> tuple[dict[str, float], dict[str, float]]:
    """By tenant, with weights that are assumed and with those that are fitted."""
    sampling = Sampling()
    _simulate(engine, sampling, until_ms)
    samples = sampling.take()
    made = fit(samples, DAY * DAY_MS)
    assert not isinstance(made, NoFit), made
    with Registry.open(RegistrySettings(state_dir=folder)) as registry:
        registry.engine_weights.sample(samples, DAY * DAY_MS)
        _book(registry, engine)
        assumed = dict(_errors(registry, engine))
        registry.engine_weights.put(made)
        return assumed, dict(_errors(registry, engine))


def _simulate(engine: _Engine, sampling: Sampling, until_ms: float) -> None:
    draw, looked_ms = random.Random(15), 0.0
    arrivals = _arrivals(draw, until_ms)
    following = next(arrivals, None)
    while engine.now_ms < until_ms:
        while following is not None and following.began_ms <= engine.now_ms:
            engine.queue.append(following)
            following = next(arrivals, None)
        if engine.queue or engine.running:
            engine.step()
        else:
            engine.now_ms = min(until_ms, engine.now_ms + 10.0)
        if engine.now_ms - looked_ms >= 1_000.0:
            looked_ms = engine.now_ms
            sampling.note_look(ENGINE, BASE, KIND, engine.look(looked_ms), len(engine.queue) + len(engine.running))


def _arrivals(draw: random.Random, until_ms: float) -> Iterator[_Request]:
    """In order; every five minutes each tenant sends more or less than before."""
    at_ms, rates, changes_ms = 0.0, dict.fromkeys(MIXES, 1.0), 0.0
    while at_ms < until_ms:
        if at_ms >= changes_ms:
            rates = {name: draw.choice((0.05, 0.3, 1.0, 2.0)) for name in MIXES}
            changes_ms += 300_000.0
        at_ms += draw.expovariate(sum(rates.values()) / MEAN_GAP_MS)
        tenant = draw.choices(list(rates), list(rates.values()))[0]
        prompt, answer = MIXES[tenant]
        yield _Request(tenant, 1 + draw.randrange(2 * prompt), 1 + draw.randrange(2 * answer), at_ms)


def _book(registry: Registry, engine: _Engine) -> None:
    """The ledger's rows, the engine's stay and its cost."""
    began_ms = DAY * DAY_MS
    registry.ledger.record(
        {
            "attempt_id": f"attempt-{number}",
            "request_id": f"request-{number}",
            "tenant": one.tenant,
            "key_id": "key",
            "requested_model": "m",
            "served_model": f"{one.tenant}/m@1.0",
            "endpoint": "chat",
            "engine": "http://simulated:1",
            "engine_id": ENGINE,
            "outcome": "ok",
            "prompt_tokens": one.prompt,
            "cached_tokens": 0,
            "completion_tokens": one.answer,
            "started_at_ms": began_ms + int(one.began_ms),
            "finished_at_ms": began_ms + int(ended_ms),
        }
        for number, (one, ended_ms) in enumerate(engine.done)
    )
    seen = SeenEngine(ENGINE, "http://simulated:1", "simulated", None, BASE, KIND, began_ms)
    for at_ms in (began_ms, began_ms + int(engine.now_ms)):
        registry.engine_spans.see([seen], at_ms)
    registry.engine_costs.add(
        "*", "on_demand", {"hourly": "2.74"}, effective_from_ms=began_ms, source="the bar", actor="the bar"
    )


def _errors(registry: Registry, engine: _Engine) -> Iterator[tuple[str, float]]:
    allocation = allocation_of(registry, DAY * DAY_MS, (DAY + 1) * DAY_MS)
    assert sum(line.loaded_nano for line in allocation.lines) == allocation.bill.nano
    found = {line.tenant: line.busy_nano for line in allocation.lines if line.kind == "tenant"}
    true_ms = dict.fromkeys(MIXES, 0.0)
    for one, _ in engine.done:
        true_ms[one.tenant] += one.true_ms
    for tenant, ms in true_ms.items():
        right = sum(found.values()) * ms / sum(true_ms.values())
        yield tenant, abs(found[tenant] - right) / right
