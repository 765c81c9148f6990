"""A month of supposed traffic at APIs and on engines of one's own: the fine-tuning guide's case, and others."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from gateway.cost.cases import Terms, case_of
from gateway.cost.scenario import Case, Listed, Scenario, compare
from gateway.cost.scenario_words import document, dollars, notes, percents, retirement_said, verdict_said
from registry.errors import InvalidInput
from registry.money import NANO, dollars_to_nano
from registry.prices.baseline_infos import BaselineInfo, Claim, ComponentPrice, PricePeriod, State

THE_GUIDE = Claim(25_000 * NANO, "1M requests of 500 + 500 tokens", "the fine-tuning guide", "", 1)


def listed(
    name: str, state: State = "live", claim: Claim | None = None, substitute: str | None = None, **prices: str
) -> Listed:
    """Of prices in dollars per million tokens."""
    components = {
        component: ComponentPrice(
            component, dollars_to_nano(dollars, component), 0, "list", None, "", 1, False, "shipped", None
        )
        for component, dollars in prices.items()
    }
    info = BaselineInfo(name, state, None, substitute, None, None, claim)
    return Listed(info, PricePeriod(name, 0, None, components))


GPT4 = listed("gpt-4", "retired", THE_GUIDE, "gpt-5-mini", input="30", output="60")
TURBO = listed("gpt-4-turbo", "retired", input="10", output="30")
MINI = listed(
    "ft:gpt-4o-mini", "retiring", input="0.30", output="1.20", training="3.00", batch_input="0.15", batch_output="0.60"
)
DISTILLED = listed("gpt-5-mini", input="0.25", output="2.00", cached_input="0.025")


def guides(case: Case | None = None) -> Scenario:
    return compare(case or Case(), [GPT4, TURBO, MINI, DISTILLED])


def test_the_guides_case_comes_to_its_figures_and_says_that_one_of_them_fits_no_list_price() -> None:
    found = guides()
    assert document(found) == {
        "baselines": {
            "gpt-4": {"monthly_usd": 45000, "training_usd": None, "status": "retired"},
            "gpt-4-turbo": {"monthly_usd": 20000, "training_usd": None, "status": "retired"},
            "ft:gpt-4o-mini": {"monthly_usd": 750, "training_usd": 50, "status": "retiring"},
            "gpt-5-mini": {"monthly_usd": 1125, "training_usd": None, "status": "live"},
        },
        "self_hosted": {"monthly_usd": 2000},
        "break_even_requests": 2_666_667,
        "verdict": "stay on the API",
    }
    assert verdict_said(found) == (
        "Stay on the API: ft:gpt-4o-mini costs $750 a month for 1,000,000 requests, one GPU $2,000; "
        "self-hosting costs less from 2,666,667 a month on."
    )
    said = list(notes(found))
    assert (
        "the fine-tuning guide says $25,000 for gpt-4, which fits no list price: its list price comes to $45,000"
        in said
    )
    assert "gpt-4 was retired; its substitute is gpt-5-mini" in said


def test_percentages_are_told_of_list_prices_and_of_the_guides_own_figure() -> None:
    told = {name: (listed, guide) for name, listed, guide in percents(guides())}
    assert told["ft:gpt-4o-mini"] == ("98.3%", "97%")
    assert told["self-hosted"] == ("95.6%", "92%")


def test_a_figure_that_some_other_list_price_comes_to_is_said_to_fit_that() -> None:
    claimed = listed("gpt-4", "retired", Claim(20_000 * NANO, "", "a blog", "", 1), input="30", output="60")
    found = compare(Case(), [claimed, TURBO])
    assert (
        "a blog says $20,000 for gpt-4, which fits the list price of gpt-4-turbo: its list price comes to $45,000"
        in set(notes(found))
    )
    assert compare(Case(requests=5), [claimed, TURBO]).checked == ()


@pytest.mark.parametrize(
    ("requests", "verdict"),
    [
        (2_000_000, "stay on the API"),
        (2_600_000, "too close to call"),
        (2_800_000, "too close to call"),
        (3_000_000, "self-host"),
    ],
)
def test_the_verdict_follows_the_cheapest_api_that_can_still_be_asked(requests: int, verdict: str) -> None:
    assert guides(Case(requests=requests)).verdict == verdict


def test_a_retired_api_is_no_reason_to_stay_and_without_any_other_one_self_hosts() -> None:
    found = compare(Case(requests=1), [listed("cheap", "retired", input="0.01", output="0.01"), DISTILLED])
    assert found.rival is not None
    assert found.rival.info.name == "gpt-5-mini"
    alone = compare(Case(requests=1), [GPT4])
    assert (alone.verdict, alone.break_even_requests) == ("self-host", None)
    assert verdict_said(alone) == "Self-host: none of these APIs can be asked any more."


def test_when_the_cheapest_api_ends_what_follows_is_said_too() -> None:
    ending = replace(MINI, info=replace(MINI.info, ends_at_ms=1_800_000_000_000))
    assert retirement_said(compare(Case(), [ending, DISTILLED])) == (
        "It is to be retired on 2027-01-15; of those that stay, gpt-5-mini costs $1,125 a month, "
        "and self-hosting costs less from 1,777,778 a month on."
    )
    alone = retirement_said(compare(Case(), [ending]))
    assert alone == "It is to be retired on 2027-01-15, as all of these are."
    assert retirement_said(compare(Case(), [DISTILLED])) is None


def test_at_the_break_even_the_api_costs_what_the_engines_do() -> None:
    for engines in (1, 3):
        even = guides(Case(engines=engines)).break_even_requests
        assert even is not None
        at, before = (guides(Case(requests=even - less, engines=engines)) for less in (0, 1))
        assert at.rival is not None
        assert before.rival is not None
        assert before.rival.monthly_nano < before.case.own_nano <= at.rival.monthly_nano


def test_an_engine_that_is_full_before_the_break_even_never_pays() -> None:
    full = guides(Case(requests=5_000_000, requests_an_engine=2_000_000))
    assert (full.break_even_requests, full.case.own_nano, full.verdict) == (None, 6_000 * NANO, "stay on the API")
    assert verdict_said(full).endswith("self-hosting never costs less.")
    roomy = guides(Case(requests=8_000_000, requests_an_engine=4_000_000))
    assert (roomy.break_even_requests, roomy.verdict) == (2_666_667, "self-host")


def test_cached_and_batched_shares_cost_what_the_api_lists_for_them_and_else_as_much_as_others() -> None:
    found = guides(case_of(Case(), Terms(cached_share="0.5", batch_share="0.2")))
    # 500 tokens in: 0.8 · (half 0.25, half 0.025) + 0.2 · 0.25; no price of batches is known
    assert found.offers["gpt-5-mini"].monthly_nano == NANO * (
        500 * (Fraction("0.8") * Fraction("0.1375") + Fraction("0.05")) + 1_000
    )
    assert found.offers["ft:gpt-4o-mini"].monthly_nano == NANO * Fraction("0.9") * 750
    said = set(notes(found))
    assert "gpt-5-mini has no price for batches: they cost as much as other requests" in said
    assert "ft:gpt-4o-mini has no price for cached input: it costs as much as other input" in said


def test_a_gpu_is_priced_by_the_hour_or_the_month_and_a_dearer_training_is_paid_for_in_months() -> None:
    half = case_of(Case(), Terms(cached_share="0.5", batch_share="0.5"))
    assert case_of(half, Terms()) == half
    assert case_of(half, Terms(cached_share="0", batch_share="0")) == Case()
    assert case_of(Case(), Terms(gpu_hour="1.49")).own_nano == dollars_to_nano("1087.70", "")
    case = case_of(Case(requests=4_000_000), Terms(gpu_month="1500", own_training="800"))
    assert verdict_said(guides(case)).endswith("one GPU $1,500; the dearer training is paid for in 0.5 months.")
    with pytest.raises(InvalidInput, match="gpu_hour and gpu_month are both given"):
        case_of(Case(), Terms(gpu_month="1", gpu_hour="1"))


@pytest.mark.parametrize("text", ["1.01", "-1", "half", "1/0", "nan"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"cached_share is .* expected a share"):
        case_of(Case(), Terms(cached_share=text))


def test_less_than_half_a_cent_is_not_nothing() -> None:
    assert [dollars(nano) for nano in (0, 1, 4_999_999, 5_000_000)] == ["$0", "under $0.01", "under $0.01", "$0.01"]
