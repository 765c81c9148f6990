"""Experiments on real parts: traffic and feedback by the official client decide what an alias points at."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count, cycle
from typing import Any

import openai
import pytest
from sqlalchemy import select

from registry.experiments.infos import ExperimentInfo
from registry.experiments.plan import Plan
from registry.ledger.rows import USAGE
from registry.names import parse_ref, parse_whole_adapter
from registry.service import Registry
from registry.shadows.store import ShadowInfo
from registry.shadows.terms import Terms
from registry.swaps.following import follow
from registry.swaps.infos import DONE
from tests.live.installation import DEADLINE_S, ROOT, Live
from tests.support.waiting import wait_until_async

TRIAGE = parse_whole_adapter("acme/desk")
PRODUCTION, BETA = "acme/desk", "acme/desk@beta"
CLIENTS = 12
"""That ask at the same time."""
ENOUGH, PAUSE_S = 240, 3.0
"""Users who come at once: an analysis says nothing of fewer than 200. Those after them come more slowly, as the engine
works for each of them while the first ones' values are waited for."""
UNITS = count()
PLAN: dict[str, Any] = {
    "ramp": [{"percent": 50, "dwell_s": 0, "min_units": 20}, {"percent": 100, "dwell_s": 0, "min_units": 0}],
    "metric": {"name": "triaged", "direction": "higher", "margin": 0.05, "window_s": 3},
    "guardrails": [{"metric": "empty", "margin": 0.5}],
}


@pytest.fixture(scope="module")
def registry(live: Live) -> Iterator[Registry]:
    """That of the running installation, with an adapter of its own: what triage is, then something else."""
    with Registry.open(live.registry_settings()) as registry:
        for sample in ("triage", "sentiment"):
            published = registry.adapters.publish(
                tenant="acme",
                adapter="desk",
                folder=ROOT / "examples" / sample / "adapter",
                base=live.base_name,
                lineage={"source": "test"},
            )
        assert str(published.version.version) == "1.1"
        for version, alias in (("1.0", "production"), ("1.1", "beta")):
            swap = registry.swaps.request(parse_ref(f"acme/desk@{version}"), alias=alias, actor="test")
            assert follow(registry, swap, DEADLINE_S).state == DONE
        yield registry


def tickets() -> list[Any]:
    """A little longer than a block of the engine's cache (32 tokens), so that it reads two or three tokens of one that
    was asked before: an experiment needs hundreds of answers, and without a GPU reading is what they cost.
    """
    return [
        [{"role": "system", "content": "Triage the ticket."}, {"role": "user", "content": f"Hi team, {words}"}]
        for words in (
            "It is not urgent. My screen is broken, and the spare one too.",
            "Could you send the March invoice again? Every team has stopped.",
            "It is not urgent. What data do you keep of us, and for how long?",
        )
    ]


async def a_user(client: openai.AsyncOpenAI, model: str, messages: Any) -> str | None:
    """Asks once, and says whether what it got is the beginning of an answer that it can use; the arm that it was on."""
    got = await client.chat.completions.with_raw_response.create(
        model=model,
        messages=messages,
        max_tokens=1,
        temperature=0,
        extra_headers={"X-Switchyard-Unit": f"user {next(UNITS)}"},
    )
    answer = got.parse()
    good = (answer.choices[0].message.content or "").startswith("{")
    said = {"response_id": answer.id, "metric": "triaged", "value": good}
    await client.post("/feedback", body=said, cast_to=object)
    return got.headers.get("x-switchyard-arm")


@asynccontextmanager
async def users(live: Live, model: str) -> AsyncIterator[Counter[str | None]]:
    """New ones all the time while the block runs, `ENOUGH` of them at once; the value counts them by arm."""
    arms: Counter[str | None] = Counter()
    asked = cycle(tickets())

    async def go_on(client: openai.AsyncOpenAI) -> None:
        while True:
            arms[await a_user(client, model, next(asked))] += 1
            if arms.total() >= ENOUGH:
                await asyncio.sleep(PAUSE_S)

    async with live.client("acme") as client:
        tasks = [asyncio.create_task(go_on(client)) for _ in range(CLIENTS)]
        try:
            yield arms
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def ended(registry: Registry, live: Live, model: str, alias: str, treatment: str) -> ExperimentInfo:
    """An experiment that has decided by itself, by what users said."""
    plan = Plan.of({**PLAN, "treatments": [treatment]})
    made = await asyncio.to_thread(registry.experiments.create, TRIAGE, plan, alias=alias, actor="test")

    def begun() -> bool:
        info = registry.experiments.get(made.id)
        return info.state == "running" and not info.moving

    def decided() -> ExperimentInfo | None:
        info = registry.experiments.get(made.id)
        return info if info.ended_at_ms is not None and not info.moving else None

    await wait_until_async(f"the experiment on {alias} to begin", begun, DEADLINE_S)
    await asyncio.to_thread(registry.wait_until_served)
    async with users(live, model) as arms:
        await wait_until_async(f"the experiment on {alias} to decide", decided, DEADLINE_S)
    assert {"1.0", "1.1"} <= arms.keys()
    return registry.experiments.get(made.id)


async def test_a_candidate_answers_copies_and_nobody_pays_for_them(live: Live, registry: Registry) -> None:
    registry.tenants.change("acme", {"shadow_consent": True})
    candidate, terms = parse_ref("acme/desk@1.1"), Terms(10_000, 600_000)
    shadow = await asyncio.to_thread(registry.shadows.begin, candidate, terms, actor="test")
    await asyncio.to_thread(registry.wait_until_served)
    asked = count()

    def paired() -> bool:
        return registry.shadows.get(shadow.id).paired > 2

    async with live.client("acme") as client:

        async def asked_or_done() -> bool:
            stream = next(asked) % 2 == 0
            answer: Any = await client.chat.completions.create(
                model=PRODUCTION, messages=tickets()[0], max_tokens=4, temperature=0, stream=stream
            )
            if stream:
                async for _ in answer:
                    pass
            return await asyncio.to_thread(paired)

        ends = time.monotonic() + DEADLINE_S
        while not await asked_or_done():
            assert time.monotonic() < ends, registry.shadows.get(shadow.id).counts
    ended = await asyncio.to_thread(partial(registry.shadows.end, shadow.id, why="seen enough"))
    pairs = registry.pairs.page(shadow.id, None, 10, whole=True, with_content=True)
    for pair in pairs:
        assert (pair.control["model"], pair.candidate["model"]) == ("acme/desk@1.0", "acme/desk@1.1")
        assert pair.control["engine"] == pair.candidate["engine"]
        assert pair.control["prompt_tokens"] == pair.candidate["prompt_tokens"]
        assert pair.content is not None
        assert pair.content.control.text.startswith("{")
        assert not pair.content.candidate.text.startswith("{")
    assert {"ttft_ms", "total_ms"} <= pairs[0].candidate.keys()
    await wait_until_async("usage rows", partial(_copies_are_booked_apart, registry, ended), DEADLINE_S)


def _copies_are_booked_apart(registry: Registry, shadow: ShadowInfo) -> bool:
    query = select(USAGE.c.served_model).where(USAGE.c.shadow.is_(True))
    with registry.db.read() as session:
        copies = session.scalars(query).all()
    assert set(copies) <= {"acme/desk@1.1"}
    return len(copies) >= shadow.paired


async def test_a_worse_version_is_rolled_back_by_what_users_say(live: Live, registry: Registry) -> None:
    info = await ended(registry, live, PRODUCTION, "production", "1.1")
    last = registry.experiments.decisions(info.id)[-1]
    assert (info.state, last.kind, last.weights) == ("rolled_back", "rollback", {"1.0": 10_000}), last
    assert str(registry.adapters.get(parse_ref("acme/desk@production")).version) == "1.0"
    async with live.client("acme") as client:
        answers = [
            await client.chat.completions.create(model=PRODUCTION, messages=t, max_tokens=1) for t in tickets()[:4]
        ]
    assert {answer.model for answer in answers} == {"acme/desk@1.0"}


async def test_a_better_version_is_promoted_by_what_users_say(live: Live, registry: Registry) -> None:
    info = await ended(registry, live, BETA, "beta", "1.0")
    last = registry.experiments.decisions(info.id)[-1]
    assert (info.state, last.kind) == ("promoted", "promote"), last
    assert "any time" in last.reason
    assert str(registry.adapters.get(parse_ref("acme/desk@beta")).version) == "1.0"
