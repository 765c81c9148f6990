"""The bound of answers to requests that name none: it follows what a model does, and is not fooled by its own cuts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from gateway.handoffs import Usage
from gateway.limits.output_lengths import EDGES, FEWEST, MOST, RATIO, OutputLengths
from registry.db import now_ms
from registry.ledger.output_lengths import LengthCount
from tests.support.stack import CHAT, MESSAGES, House, Stack, run_engines, run_gateway
from tests.support.usage_rows import usage_row
from tests.support.waiting import wait_until

DEFAULT = 1_024
ME = ("acme", "acme/triage")
PROMPT = 200


def saw(lengths: OutputLengths, tokens: int, times: int = 1, of: tuple[str, str] = ME, prompt: int = PROMPT) -> None:
    for _ in range(times):
        lengths.observe(*of, Usage(prompt_tokens=prompt, completion_tokens=tokens))


def seeded(*counts: LengthCount) -> OutputLengths:
    lengths = OutputLengths(DEFAULT)
    asyncio.run(lengths.seed(lambda since_ms: counts))
    return lengths


def served(lengths: OutputLengths, draw: Callable[[], int], requests: int) -> tuple[float, list[int]]:
    """So many requests without `max_tokens`; the share that was cut at its bound, and all bounds."""
    bounds, cut = [], 0
    for _ in range(requests):
        bound = lengths.bound(*ME)
        wanted = draw()
        bounds.append(bound)
        cut += wanted >= bound
        saw(lengths, min(wanted, bound))
    return cut / requests, bounds


def lognormal(median: int, seed: int = 7) -> Callable[[], int]:
    chance = random.Random(seed)
    return lambda: 1 + int(median * chance.lognormvariate(0, 0.6))


def p99(draw: Callable[[], int]) -> int:
    return sorted(draw() for _ in range(100_000))[99_000]


def test_with_few_answers_the_bound_is_the_default() -> None:
    lengths = OutputLengths(DEFAULT)
    saw(lengths, 20, FEWEST - 1)
    assert lengths.bound(*ME) == DEFAULT
    saw(lengths, 20)
    assert lengths.bound(*ME) == 22


@pytest.mark.parametrize("tokens", [0, 1, 7, 8, 21, 22, 1_000, 99_999, 10**9])
def test_the_bound_is_longer_than_all_but_a_hundredth_of_the_answers_by_a_bucket_at_most(tokens: int) -> None:
    lengths = OutputLengths(DEFAULT)
    saw(lengths, tokens, 99)
    saw(lengths, 10**9)
    bound = lengths.bound(*ME)
    if tokens < EDGES[-1]:
        assert tokens < bound <= max(tokens + 1, tokens * RATIO)
    saw(lengths, 10**9, 2)
    assert lengths.bound(*ME) == EDGES[-1], "now more than a hundredth is longer"


def test_every_adapter_and_every_tenants_use_of_a_base_is_a_model_of_its_own() -> None:
    lengths = OutputLengths(DEFAULT)
    saw(lengths, 20, FEWEST, ("acme", "acme/triage"))
    saw(lengths, 60, FEWEST, ("acme", "tiny"))
    saw(lengths, 200, FEWEST, ("globex", "tiny"))
    assert lengths.bound("acme", "acme/triage") == 22
    assert lengths.bound("acme", "tiny") == 63
    assert lengths.bound("globex", "tiny") == 235
    assert lengths.bound("acme", "acme/other") == DEFAULT


def test_answers_that_are_cut_at_their_bound_do_not_make_it_sink() -> None:
    """The P99 is sent as `max_tokens`, so one answer in a hundred never shows how long it would have been."""
    lengths, draw = OutputLengths(DEFAULT), lognormal(80)
    true = p99(lognormal(80, seed=8))
    served(lengths, draw, 5_000)
    cut, bounds = served(lengths, draw, 50_000)
    assert cut < 0.01
    assert true / RATIO < min(bounds)
    assert max(bounds) < true * RATIO**2


def test_the_bound_rises_when_answers_grow_and_sinks_when_they_shrink() -> None:
    lengths = OutputLengths(DEFAULT)
    served(lengths, lognormal(20), 5_000)
    short = lengths.bound(*ME)
    longer = lognormal(200)
    true = p99(lognormal(200, seed=8))
    _, bounds = served(lengths, longer, 600)
    assert bounds[0] == short < true / 5
    assert bounds == sorted(bounds), "it has only risen"
    assert lengths.bound(*ME) > true / RATIO
    cut, _ = served(lengths, longer, 10_000)
    assert cut < 0.01
    served(lengths, lognormal(20), 10 * MOST)
    assert lengths.bound(*ME) <= short * RATIO


def test_a_bound_is_no_larger_than_an_engine_was_seen_to_hold() -> None:
    """An engine refuses `max_tokens` above its context, also to a client who has named none."""
    lengths = OutputLengths(100)
    saw(lengths, 110, FEWEST, prompt=5)
    assert lengths.bound(*ME) == 115 < 121
    saw(lengths, 110, prompt=20)
    assert lengths.bound(*ME) == 121


def test_what_the_ledger_knows_counts_at_once_and_gives_way_to_what_is_seen() -> None:
    lengths = seeded(
        LengthCount("acme", "acme/triage", 20, 150_000, 60),
        LengthCount("acme", "acme/triage", 30, 50_000, 70),
        LengthCount("acme", "acme/rare", 20, FEWEST - 1, 60),
    )
    assert lengths.bound(*ME) == 33
    assert lengths.bound("acme", "acme/rare") == DEFAULT
    saw(lengths, 60, 20)
    assert lengths.bound(*ME) == 63


def test_what_was_seen_while_the_ledger_was_read_counts_too() -> None:
    lengths = OutputLengths(DEFAULT)
    saw(lengths, 60, FEWEST // 2)
    asyncio.run(lengths.seed(lambda since_ms: [LengthCount(*ME, 20, FEWEST // 2, 60)]))
    assert lengths.bound(*ME) == 63


def test_without_the_ledger_the_bound_is_the_default(caplog: pytest.LogCaptureFixture) -> None:
    def away(since_ms: int) -> Iterator[LengthCount]:
        raise OperationalError("SELECT", {}, Exception("the database is away"))

    lengths = OutputLengths(DEFAULT)
    asyncio.run(lengths.seed(away))
    assert lengths.bound(*ME) == DEFAULT
    assert "the database is away" in caplog.text


def bound_of(answer: Any) -> int | None:
    assert answer.status_code == 200, answer.text
    value = answer.headers.get("x-switchyard-max-tokens")
    return None if value is None else int(value)


def vague(stack: Stack, **more: Any) -> Any:
    """A request without `max_tokens`."""
    return stack.post(CHAT, {"model": "triage", "messages": MESSAGES, **more})


def test_a_gateway_learns_the_bound_says_it_and_finds_it_again_after_a_restart(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_engines(house, {"answer_tokens": 16}) as mocks:
        with run_gateway(house, mocks, default_output_tokens=40) as stack:
            stack.wait_resident("acme/triage")
            assert bound_of(vague(stack)) is None, "without limits nothing is held, and so nothing is bounded"
            house.registry.limits.set("tenant:acme", {"daily_tokens": 1_000_000})
            stack.wait_revision()
            assert bound_of(vague(stack, max_tokens=300, ignore_eos=True)) is None
            bounds = [bound_of(vague(stack, stream=number % 2 == 1)) for number in range(FEWEST)]
            assert set(bounds) == {40}
            endless = vague(stack, ignore_eos=True)
            assert bound_of(endless) == 18
            assert endless.json()["choices"][0]["finish_reason"] == "length"
            assert endless.json()["usage"]["completion_tokens"] == 18
            longer = vague(stack, min_tokens=30, n=2, temperature=1)
            assert bound_of(longer) == 30
            assert longer.json()["usage"]["completion_tokens"] == 60
        wait_until("the ledger", lambda: len(house.usage(tenant="acme")) == FEWEST + 4)
        recent = now_ms()
        house.registry.ledger.record(
            [usage_row(f"a-{n}", completion_tokens=20, usage_source="engine", started_at_ms=recent) for n in range(900)]
        )
        with run_gateway(house, mocks) as stack:
            stack.wait_resident("acme/triage")
            wait_until("the ledger to be read", lambda: bound_of(vague(stack)) == 22)
