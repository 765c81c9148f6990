"""Prices out of the package genai-prices: dated where it has dates, named with its snapshot, and refused where no date
can say what it says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, time
from decimal import Decimal

import pytest
from genai_prices.types import ClauseEquals as Equals
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from registry.days import day_ms
from registry.db import now_ms
from registry.errors import Conflict, InvalidInput, NotFound
from registry.prices.baselines import Baselines
from registry.prices.genai import GenaiPrices, newest_reading, take_listings
from registry.prices.price_log import Said
from registry.service import Registry

SQLITE_ALONE = True
MAY = day_ms("2026-05-01", "day")


@pytest.fixture(scope="module")
def real() -> GenaiPrices:
    """The package as it is installed."""
    return GenaiPrices(now_ms())


def model(name: str, prices: ModelPrice | list[ConditionalPrice], *variants: PriceVariant) -> ModelInfo:
    return ModelInfo(id=name, match=Equals(name), prices=prices, price_variants=list(variants))


@contextmanager
def of(real: GenaiPrices, *models: ModelInfo, provider: str = "acme") -> Iterator[GenaiPrices]:
    """The same with one provider more, that has these."""
    shelf = Provider(id=provider, name=provider, api_pattern="x", models=list(models))
    whole = real._providers
    real._providers = [*whole, shelf]
    yield real
    real._providers = whole


def prices(said: tuple[Said, ...]) -> list[tuple[str, int, int | None]]:
    return sorted(
        (one.field, one.effective_from_ms, one.nano) for one in said if one.field not in ("provider", "checked")
    )


def test_a_model_of_the_package_gets_its_prices_and_its_snapshot_as_their_source(
    real: GenaiPrices, registry: Registry
) -> None:
    listing = real.find("anthropic/claude-opus-5")
    taken = take_listings(registry.baselines, {"anthropic/claude-opus-5": listing})["anthropic/claude-opus-5"]
    assert len(taken.added) >= 4
    period = registry.baselines.prices("anthropic/claude-opus-5")[-1]
    assert period.complete
    price = period.components["input"]
    assert price.source.startswith(real.snapshot)
    assert (price.origin, price.retrieved_at_ms) == ("genai-prices", real.read_ms)
    assert real.snapshot.startswith("genai-prices 0.")
    assert registry.baselines.info("anthropic/claude-opus-5").provider == "anthropic"
    assert registry.baselines.names_from("genai-prices") == ["anthropic/claude-opus-5"]
    again = take_listings(registry.baselines, {"anthropic/claude-opus-5": listing})["anthropic/claude-opus-5"]
    assert again.added == ()


@pytest.mark.parametrize("said", ["Verified on {}.", "(checked {}; gone)", "as of {}", "when checked on {};"])
def test_data_are_as_old_as_their_last_reading_whatever_days_of_prices_have_come_since(said: str) -> None:
    data = f"{said.format('2026-10-09')} {said.format('2026-10-07')} Removed on 2026-11-30. {said.format('2027-02-01')}"
    assert newest_reading(data, day_ms("2026-12-24", "day")) == day_ms("2026-10-09", "day")
    assert newest_reading("Removed on 2026-11-30", MAY) == MAY


def test_dates_become_dates_and_batches_components(real: GenaiPrices) -> None:
    changed = [
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(3), output_mtok=Decimal(9), cache_read_mtok=Decimal(1))),
        ConditionalPrice(
            constraint=StartDateConstraint(start_date=date(2026, 5, 1)),
            prices=ModelPrice(input_mtok=Decimal("2.5"), output_mtok=Decimal(9)),
        ),
    ]
    batch = PriceVariant(
        when={"processing": "batch"},
        prices=ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(4)),
        constraint=StartDateConstraint(start_date=date(2026, 5, 1)),
    )
    with of(real, model("m", changed, batch)) as package:
        said = package.find("acme/m").said
    dollar = 1_000_000_000
    assert prices(said) == [
        ("batch_input", MAY, dollar),
        ("batch_output", MAY, 4 * dollar),
        ("cached_input", 0, dollar),
        ("cached_input", MAY, None),
        ("input", 0, 3 * dollar),
        ("input", MAY, 2_500_000_000),
        ("output", 0, 9 * dollar),
        ("output", MAY, 9 * dollar),
    ]


def test_of_tiers_the_first_is_taken_and_that_is_said(real: GenaiPrices) -> None:
    tiered = TieredPrices(base=Decimal(1), tiers=[Tier(start=200_000, price=Decimal(2))])
    with of(
        real, model("m", ModelPrice(input_mtok=tiered, output_mtok=Decimal(3), requests_kcount=Decimal(5)))
    ) as package:
        listing = package.find("acme/m")
    assert ("input", 0, 1_000_000_000) in prices(listing.said)
    assert "input: the first tier, for prompts of up to 200000 tokens; longer ones cost more" in listing.doubts
    assert "not taken: requests_kcount" in listing.doubts
    assert any("first tier" in one.note for one in listing.said)


def test_what_no_date_can_say_is_refused_with_the_reason(real: GenaiPrices) -> None:
    night = TimeOfDateConstraint(start_time=time(0), end_time=time(6))
    cheap = [ConditionalPrice(constraint=night, prices=ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1)))]
    fine = ModelPrice(input_mtok=Decimal("0.00000000001"), output_mtok=Decimal(1))
    with of(
        real, model("night", cheap), model("embed", ModelPrice(input_mtok=Decimal(1))), model("fine", fine)
    ) as package:
        with pytest.raises(
            InvalidInput, match=r"price of night depends on the time of day .* `switchyard cost baselines"
        ):
            package.find("acme/night")
        with pytest.raises(InvalidInput, match="acme/embed has no price per token of input and output"):
            package.find("acme/embed")
        with pytest.raises(InvalidInput, match="up to 9 decimals"):
            package.find("acme/fine")


def test_a_name_that_is_unknown_or_several_ones_is_told_with_what_to_write(real: GenaiPrices) -> None:
    price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))
    with pytest.raises(NotFound, match=r"has no such one; did you mean .*gpt-4o"):
        real.find("gpt-4oo")
    with pytest.raises(NotFound, match="provider is 'nobody'; choose from"):
        real.find("gpt-4o", "nobody")
    with of(real, model("claude-opus-5", price)) as package:
        with pytest.raises(InvalidInput, match=r"name one of .*anthropic/claude-opus-5, .*acme/claude-opus-5"):
            package.find("claude-opus-5")
        assert ("input", 0, 1_000_000_000) in prices(package.find("claude-opus-5", "acme").said)


def test_a_name_keeps_its_provider_and_an_undated_price_does_not_reach_back(
    real: GenaiPrices, registry: Registry
) -> None:
    baselines = registry.baselines
    before = baselines.prices("gpt-4o")
    listing = real.find("gpt-4o", "openai")
    taken = take_listings(baselines, {"gpt-4o": listing})["gpt-4o"]
    assert [one.field for one in taken.added] == [], "the table that is shipped says the same"
    assert baselines.prices("gpt-4o") == before, "its price of today is not one of the time before it"
    with of(real, model("gpt-4o", ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1)))) as package:
        other = package.find("gpt-4o", "acme")
    with pytest.raises(Conflict, match="'gpt-4o', which is of openai in the log; import it as acme/gpt-4o"):
        take_listings(baselines, {"gpt-4o": other})
    dearer = dataclasses.replace(
        listing,
        said=tuple(dataclasses.replace(one, nano=7) if one.field == "input" else one for one in listing.said),
    )
    take_listings(baselines, {"gpt-4o": dearer})
    now, then = baselines.prices("gpt-4o")[-1], baselines.prices("gpt-4o")[0]
    assert (now.nano("input"), then.nano("input")) == (7, before[0].nano("input")), "news hold from today on"
    assert take_listings(baselines, {"gpt-4o": dearer})["gpt-4o"].added == ()
    fresh = Baselines(registry.db)
    assert fresh.prices("gpt-4o")[-1].nano("input") == 7, "the shipped table does not take it back"
