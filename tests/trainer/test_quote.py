"""The quote of a recipe: tokens, steps, memory, time, money."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.money import NANO
from tests.support.tiny_recipe import tiny_recipe
from trainer.quote.facts import Bench, Prices, RowFacts, TokenDollars
from trainer.quote.known import find_shape
from trainer.quote.quote import Quote, quote, steps_of
from trainer.quote.truth import Actual, against_actual, truth_sentence
from trainer.recipe import RecipeModel

BENCH = Bench("cpu", (2.0, 1.0, 1.0), (100, 100, 100), memory_bytes=8_000_000_000)


def recipe(**training: Any) -> RecipeModel:
    import tomllib

    document = tomllib.loads(tiny_recipe())
    document["training"] = training
    return RecipeModel.model_validate(document)


def rows(count: int = 100, prompt: int = 30, answer: int = 10, **more: Any) -> RowFacts:
    defaults: dict[str, Any] = {"cut": 0, "copies": 0, "heldout": 15, "seen": 0}
    return RowFacts((prompt + answer,) * count, prompt * count, answer * count, **{**defaults, **more})


def quoted(*, bench: Bench | None = BENCH, prices: Prices | None = None, **training: Any) -> Quote:
    training = training or {"epochs": 3, "batch_size": 8}
    return quote(recipe(**training), rows(), find_shape("135m"), bench, prices)


@pytest.mark.parametrize(
    ("training", "steps", "tokens"),
    [
        ({"epochs": 3, "batch_size": 8}, 39, 12_000),
        ({"epochs": 1.5, "batch_size": 8}, 20, 6_154),
        ({"epochs": 2, "batch_size": 8, "gradient_accumulation_steps": 4}, 8, 8_000),
        ({"max_steps": 26, "batch_size": 8}, 26, 8_000),
        ({"epochs": 1, "batch_size": 4, "packing": True, "max_length_tokens": 80}, 13, 4_000),
    ],
)
def test_steps_and_tokens_are_those_of_the_passes_over_the_rows(
    training: dict[str, Any], steps: int, tokens: int
) -> None:
    found = quoted(**training)
    assert (steps_of(recipe(**training), rows()), found.steps, found.trained_tokens) == (steps, steps, tokens)


def test_time_is_tokens_by_the_measured_pace_with_the_slowest_and_fastest_step() -> None:
    time = quoted().time
    assert time is not None
    assert (time.seconds, time.fastest_seconds, time.slowest_seconds) == (160, 120, 240)


def test_cost_is_the_time_at_the_price_of_an_hour_and_without_one_it_is_unknown_not_free() -> None:
    assert quoted(prices=Prices(hour_nano=9 * NANO)).document()["cost_usd"] == "0.4"
    unpriced = quoted().document()
    assert (unpriced["cost_usd"], unpriced["break_even"]) == (None, None)
    assert "cost: no price per hour of the machine is given" in unpriced["assumptions"]
    assert quoted(prices=Prices(hour_nano=0)).document()["cost_usd"] == "0"


def test_the_training_is_paid_for_when_requests_have_saved_its_cost() -> None:
    prices = Prices(9 * NANO, TokenDollars(10 * NANO, 30 * NANO), TokenDollars(NANO, 3 * NANO), prompt_only_tokens=970)
    found = quoted(prices=prices).break_even
    assert found is not None
    # 1,000 tokens in and 10 out at 10 and 30 dollars a million; 30 in and 10 out at 1 and 3
    assert (found.api_nano, found.own_nano) == (10_300_000, 60_000)
    assert found.requests == -(-400_000_000 // 10_240_000)


def test_against_an_api_that_is_no_dearer_a_training_never_pays() -> None:
    price = TokenDollars(NANO, NANO)
    found = quoted(prices=Prices(NANO, price, price)).break_even
    assert found is not None
    assert found.requests is None


def test_a_training_that_does_not_fit_is_said_to() -> None:
    assert quoted().fits is True
    assert quoted(bench=Bench("cpu", (1.0,), (10,), memory_bytes=1_000_000_000)).fits is False
    assert quoted(bench=None).fits is None


def test_memory_is_of_batches_as_wide_as_the_longest_row() -> None:
    long = RowFacts((10,) * 99 + (500,), 1_000, 490, 0, 0, 15, 0)
    found = quote(recipe(epochs=1, batch_size=8), long, find_shape("135m"))
    assert found.assumptions[0] == "memory: 8 rows at once, all as long as the longest (500 tokens)"
    assert found.memory.activations > 7 * quoted(epochs=1, batch_size=8).memory.activations


def test_what_is_stored_with_a_version_holds_nothing_that_was_measured() -> None:
    slow = Bench("cuda: H200", (9.0,), (1,))
    assert quoted().facts() == quoted(bench=slow, prices=Prices(NANO)).facts() == quoted(bench=None).facts()
    document = json.loads(json.dumps(quoted().document()))
    assert document["row_tokens_percentiles"] == {"50": 40, "90": 40, "99": 40}
    assert document["memory"]["total"] == sum(document["memory"].values()) / 2


def test_a_quote_is_held_against_what_the_training_took() -> None:
    time = {"seconds": 100.0, "fastest_seconds": 80.0, "slowest_seconds": 130.0}
    quote = {"steps": 10, "trained_tokens": 5_000, "time": time, "needed_bytes": 4_000}
    compared = against_actual(quote, Actual(10, 120, 5_100, 5_000))
    assert compared["seconds"] == {"quoted": 100.0, "actual": 120, "ratio": 1.2}
    assert compared["memory_bytes"] == {"quoted": 4_000, "actual": 5_000, "ratio": 1.25}
    assert (compared["trained_tokens"]["ratio"], compared["within_quoted_range"]) == (1.02, True)
    words = (
        "tokens trained 5,000 quoted, 5,100 taken; seconds of training 100.0 quoted, 120.0 taken; memory 4 kB quoted, "
        "5 kB taken"
    )
    assert truth_sentence(compared) == f"quoted against actual: {words}"
    unknown = against_actual({"steps": 10, "trained_tokens": 5_000, "time": None}, Actual(10, 120, 5_000, 5_000))
    assert (unknown["seconds"]["ratio"], "within_quoted_range" in unknown) == (None, False)
    assert "seconds of training 120.0, which was not quoted; " in truth_sentence(unknown)


@pytest.mark.parametrize(
    ("training", "evaluations"),
    [
        ({"max_steps": 100, "batch_size": 8}, 10),  # a tenth of the time is enough for all of them
        ({"max_steps": 10, "batch_size": 8}, 1),
        ({"max_steps": 10, "batch_size": 8, "eval_steps": 4}, 3),  # after steps 4, 8 and 10
    ],
)
def test_measuring_held_out_rows_meanwhile_takes_its_time_as_often_as_it_is_done(
    training: dict[str, Any], evaluations: int
) -> None:
    without = quote(recipe(**training), rows(), find_shape("135m"), BENCH).time
    measured = quote(recipe(**training), rows(heldout_tokens=600), find_shape("135m"), BENCH).time
    assert without is not None
    assert measured is not None
    extra_tokens = (measured.seconds - without.seconds) * BENCH.tokens_per_second
    assert extra_tokens == pytest.approx(evaluations * 600 / 2)


def test_the_pace_of_a_bench_is_of_all_its_steps_and_its_range_of_single_ones() -> None:
    bench = Bench("cpu", (1.0, 2.0, 1.0), (100, 100, 200))
    assert (bench.tokens_per_second, bench.slowest, bench.fastest) == (100, 50, 200)
