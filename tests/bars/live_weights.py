"""Weights fitted from a real vLLM's own counters, against the time that each of two tenants' requests took of it.

Requests are sent one at a time: so each has the engine for itself, and how long that worked for whom is known exactly.
One tenant reads (long prompts, a few tokens of answers), one writes; which of them has how many requests changes with
every sample. `attribution_error` is the largest error of a tenant's busy cost, as a share of what its requests took;
`assumed_attribution_error` the same with the weights that are assumed before there is a fit. What shares a step with
others is not in it: of that nobody knows the truth.

It wants the machine for itself, for about 25 minutes at full scale: a sample has to hold several requests, and on two
processors an answer takes seconds.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.cost.costing import allocation_of
from gateway.cost.weights import FEWEST_SAMPLES, NoFit, fit
from gateway.engines.vllm.control import VllmControl
from gateway.engines.vllm.launch import EmbeddedEngine
from gateway.fleet.sampling import Sampling
from loadtest.ports import free_port
from registry.days import DAY_MS
from registry.db import now_ms
from registry.engine_costs.spans import SeenEngine
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.bars.support.engines import EngineProcess
from tests.live.installation import default_base_folder
from tests.support.usage_rows import usage_row

MOST_ERROR = 0.20
SAMPLE_S, SAMPLES = 60.0, 24
"""More than `FEWEST_SAMPLES`, as one in which nothing ended says little."""
LEAST_SAMPLE_S = 15.0
LOOK_S, START_DEADLINE_S, REQUEST_DEADLINE_S = 1.0, 400.0, 120.0
ENGINE, KIND = "real", "vllm on cpu"
MIXES = {"reader": ((100, 400), (1, 3)), "writer": ((4, 20), (8, 30))}
"""Tenant → fewest and most tokens of prompts and of answers."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of requests in one sample's time, that are the reader's."""
FIRST_TOKEN, LAST_TOKEN = 1_000, 20_000
"""Of prompts, drawn anew for each: no cache has one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was answered, in milliseconds since the epoch."""

    tenant: str
    prompt: int
    answer: int
    began_ms: int
    ended_ms: int


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Ask, fit, compare."""
    sample_s = max(LEAST_SAMPLE_S, SAMPLE_S * scale)
    base_folder = default_base_folder()
    with Registry.open(RegistrySettings(state_dir=folder / "var")) as registry:
        base = registry.bases.adopt(base_folder)
        served = EmbeddedEngine.serving(base, base_folder, free_port(), "cpu", 16)
        engine = EngineProcess(
            folder / "engine.log", served.port, served.command(), served.environment(), START_DEADLINE_S
        )
        try:
            engine.start()
            engine.wait_healthy()
            sampling = Sampling(round(sample_s * 1_000))
            asked = asyncio.run(_spend(engine.url, base.digest, sampling, sample_s))
        finally:
            engine.kill()
        return _judged(registry, base.digest, sampling, asked)


async def _spend(url: str, base_digest: str, sampling: Sampling, sample_s: float) -> list[Asked]:
    """One request after the other, while the engine is looked at."""
    draw = random.Random(15)
    async with httpx.AsyncClient(base_url=url, timeout=REQUEST_DEADLINE_S) as http:
        client = _Client(http, (await http.get("/v1/models")).raise_for_status().json()["data"][0]["id"])
        looking = asyncio.create_task(_look(url, base_digest, sampling, client))
        try:
            await client.ask(draw, "writer")  # what an engine does once only is no tenant's
            ends = time.monotonic() + sample_s * SAMPLES
            asked = []
            while (now := time.monotonic()) < ends:
                share = SHARES[int((ends - now) / sample_s) % len(SHARES)]
                asked.append(await client.ask(draw, "reader" if draw.random() < share else "writer"))
            return asked
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking


class _Client:
    def __init__(self, http: httpx.AsyncClient, model: str) -> None:
        self._http = http
        self._model = model
        self.in_flight = 0

    async def ask(self, draw: random.Random, tenant: str) -> Asked:
        prompts, answers = MIXES[tenant]
        body = {
            "model": self._model,
            "prompt": [draw.randrange(FIRST_TOKEN, LAST_TOKEN) for _ in range(draw.randint(*prompts))],
            "max_tokens": draw.randint(*answers),
            "ignore_eos": True,
            "temperature": 0,
        }
        began_ms = now_ms()
        self.in_flight += 1
        try:
            answer = (await self._http.post("/v1/completions", json=body)).raise_for_status().json()["usage"]
        finally:
            self.in_flight -= 1
        return Asked(tenant, answer["prompt_tokens"], answer["completion_tokens"], began_ms, now_ms())


async def _look(url: str, base_digest: str, sampling: Sampling, client: _Client) -> None:
    control = VllmControl(url)
    try:
        while True:
            sampling.note_look(ENGINE, base_digest, KIND, await control.look(), client.in_flight)
            await asyncio.sleep(LOOK_S)
    finally:
        await control.close()


def _judged(registry: Registry, base_digest: str, sampling: Sampling, asked: list[Asked]) -> dict[str, Any]:
    samples = sampling.take()
    made = fit(samples, asked[0].began_ms)
    _book(registry, base_digest, asked)
    assumed = dict(_errors(registry, asked))
    detail: dict[str, Any] = {
        "samples": len(samples),
        "requests": {tenant: sum(one.tenant == tenant for one in asked) for tenant in MIXES},
        "seconds": {tenant: round(ms / 1_000, 1) for tenant, ms in _took_ms(asked).items()},
        "assumed_error_by_tenant": assumed,
    }
    error = None
    if isinstance(made, NoFit):
        detail["no_fit"] = made.reason
    else:
        registry.engine_weights.put(made)
        found = dict(_errors(registry, asked))
        error = max(map(abs, found.values()))
        detail |= {"error_by_tenant": found, "residual": made.residual}
        detail["us_a_token"] = {"prompt": made.uncached_ps / 10**6, "completion": made.completion_ps / 10**6}
    return {
        "figures": {
            "attribution_error": error,
            "assumed_attribution_error": max(map(abs, assumed.values())),
            "samples": len(samples),
        },
        "bars": {
            f"at least {FEWEST_SAMPLES} samples of the engine at work": len(samples) >= FEWEST_SAMPLES,
            f"fitted weights attribute a real engine's time within {MOST_ERROR:.0%}": error is not None
            and error <= MOST_ERROR,
        },
        "speed": {},
        "detail": detail,
    }


def _book(registry: Registry, base_digest: str, asked: list[Asked]) -> None:
    """The ledger's rows, the engine's stay and its cost."""
    registry.ledger.record(
        usage_row(
            str(number),
            tenant=one.tenant,
            served_model=f"{one.tenant}/m@1.0",
            engine_id=ENGINE,
            prompt_tokens=one.prompt,
            cached_tokens=0,
            completion_tokens=one.answer,
            usage_source="engine",
            started_at_ms=one.began_ms,
            finished_at_ms=one.ended_ms,
        )
        for number, one in enumerate(asked)
    )
    began_ms, ended_ms = asked[0].began_ms, asked[-1].ended_ms
    for at_ms in (began_ms + 1, ended_ms):
        seen = SeenEngine(ENGINE, "http://real:1", "real", None, base_digest, KIND, began_ms)
        registry.engine_spans.see([seen], at_ms)
    registry.engine_costs.add(
        "*", "on_demand", {"hourly": "2.74"}, effective_from_ms=began_ms - DAY_MS, source="the bar", actor="the bar"
    )


def _took_ms(asked: list[Asked]) -> dict[str, int]:
    """Of the engine, by tenant."""
    return {tenant: sum(one.ended_ms - one.began_ms for one in asked if one.tenant == tenant) for tenant in MIXES}


def _errors(registry: Registry, asked: list[Asked]) -> Iterator[tuple[str, float]]:
    """By tenant: its busy cost less that of what its requests took, as a share of the latter."""
    began_ms = asked[0].began_ms
    allocation = allocation_of(registry, began_ms // DAY_MS * DAY_MS, (asked[-1].ended_ms // DAY_MS + 1) * DAY_MS)
    found = dict.fromkeys(MIXES, 0)
    for line in allocation.lines:
        if line.kind == "tenant":
            found[line.tenant] += line.busy_nano
    busy, took = sum(found.values()), _took_ms(asked)
    for tenant, ms in took.items():
        true = busy * ms / sum(took.values())
        yield tenant, round(found[tenant] / true - 1, 4) if true else 0.0
