"""Weights are fitted from what engines count, and only where that can tell prompts from completions."""

from __future__ import annotations

import random

import pytest

from gateway.cost.weights import NoFit, fit, non_negative_least_squares
from gateway.engines.look import Look
from gateway.fleet.sampling import LONGEST_GAP_MS, Sampling
from registry.engine_costs.weights import KEEP_SAMPLES_MS, EngineSample, FittedWeights
from tests.support.stack import House

BASE, KIND = "sha256:b", "vllm on gpu"


def sample(number: int, uncached: int, completion: int, busy_ms: float, steps: int = 0) -> EngineSample:
    return EngineSample("a", number, BASE, KIND, round(busy_ms), steps, uncached, completion)


def drawn(seed: int, a: float, b: float, c: float, noise: float = 0.0) -> list[EngineSample]:
    """Samples of an engine that takes `a` and `b` ms for tokens and `c` ms for a step, whose batches change."""
    draw = random.Random(seed)
    found = []
    for number in range(80):
        prompts, completions = draw.randrange(1_000, 60_000), draw.randrange(500, 20_000)
        steps = completions // draw.randrange(1, 16)
        busy_ms = (a * prompts + b * completions + c * steps) * (1 + draw.uniform(-noise, noise))
        found.append(sample(number, prompts, completions, busy_ms, steps))
    return found


def test_known_weights_are_found_again_and_a_step_falls_to_completions() -> None:
    samples = drawn(1, a=0.2, b=1.5, c=6.0)
    found = fit(samples, 7)
    assert isinstance(found, FittedWeights)
    steps, completions = sum(one.steps for one in samples), sum(one.completion_tokens for one in samples)
    assert found.uncached_ps == pytest.approx(0.2e9, rel=0.01)
    assert found.step_ps == pytest.approx(6.0e9, rel=0.01)
    assert found.completion_ps == pytest.approx((1.5 + 6.0 * steps / completions) * 1e9, rel=0.01)
    assert (found.samples, found.made_at_ms, found.residual < 0.001) == (80, 7, True)


def test_noise_of_a_tenth_moves_weights_little() -> None:
    found = fit(drawn(2, a=0.3, b=3.0, c=0.0, noise=0.1), 0)
    assert isinstance(found, FittedWeights)
    assert found.uncached_ps == pytest.approx(0.3e9, rel=0.1)
    assert found.completion_ps == pytest.approx(3.0e9, rel=0.1)


def test_no_weight_is_negative() -> None:
    found = non_negative_least_squares([(1, 1, 0), (2, 1, 0), (3, 1, 0)], [3.0, 2.0, 1.0])
    assert min(found) == 0
    assert found[1] == pytest.approx(2.0)
    assert non_negative_least_squares([(0, 0, 0)], [1.0]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (drawn(3, 0.2, 1.5, 0)[:19], "19 samples of engines at work, and 20 are needed"),
        ([sample(n, 1_000 * n, 500 * n, 100 * n) for n in range(1, 40)], "always the same mix"),
        (
            [sample(n, 100 + n % 7 * 100, 100 + n % 11 * 100, 1 if n % 20 else 10**5) for n in range(40)],
            "no weights above 0 fit",
        ),
        ([], "0 samples"),
    ],
)
def test_samples_that_say_nothing_make_no_fit(samples: list[EngineSample], said: str) -> None:
    found = fit(samples, 0)
    assert isinstance(found, NoFit)
    assert said in found.reason


def look(at_ms: int, running: int, prompts: int = 0, boot: float = 1.0, **counters: int) -> Look:
    return Look(
        boot,
        running,
        0,
        0.0,
        counters.get("steps", 0),
        None,
        prompts,
        counters.get("completions", 0),
        counters.get("cached", 0),
        at_ms,
        at_ms,
    )


def test_a_sample_is_a_minute_of_one_boot_and_halves_count_where_work_began_or_ended() -> None:
    sampling = Sampling()
    for second in range(61):
        busy = int(10 <= second < 20)
        counted = min(max(second - 9, 0), 10)
        sampling.note_look(
            "a", BASE, KIND, look(second * 1_000, busy, 100 * counted, cached=30 * counted, completions=counted), 0
        )
    (found,) = sampling.take()
    assert (found.busy_ms, found.uncached_tokens, found.completion_tokens) == (10_000, 700, 10)
    assert sampling.take() == []


def test_an_engine_is_at_work_while_a_request_is_there_whatever_its_gauges_say() -> None:
    """vLLM's know of a request when its first step is over."""
    sampling = Sampling()
    for second in range(61):
        reads, writes = 10 <= second < 14, 14 <= second < 20
        sampling.note_look(
            "a", BASE, KIND, look(second * 1_000, int(writes), 400 * (second >= 14)), int(reads or writes)
        )
    (found,) = sampling.take()
    assert found.busy_ms == 10_000


def test_idle_minutes_other_boots_and_times_in_which_nobody_looked_make_no_sample() -> None:
    sampling = Sampling()
    for second in range(130):
        sampling.note_look("idle", BASE, KIND, look(second * 1_000, 0), 0)
        sampling.note_look("boots", BASE, KIND, look(second * 1_000, 1, second, boot=float(second // 40)), 0)
    for times in range(20):
        sampling.note_look("seldom", BASE, KIND, look(times * (LONGEST_GAP_MS + 1), 1, times), 0)
    assert sampling.take() == []


def test_samples_are_kept_for_some_days_and_each_once(house: House) -> None:
    weights = house.registry.engine_weights
    old, new = sample(1_000, 1, 1, 5), sample(2_000, 1, 1, 5)
    weights.sample([old, new], 2_000)
    weights.sample([new], 2_000)
    assert weights.samples(BASE, KIND) == [old, new]
    weights.sample([], KEEP_SAMPLES_MS + 1_500)
    assert weights.samples(BASE, KIND) == [new]
    assert weights.sampled() == [(BASE, KIND)]
