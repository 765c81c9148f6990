"""`/admin/v1/cost/scenario`, `break-even`, `forecast` and `anomalies`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from gateway.api.admin.office import Office, answered
from gateway.api.admin.shapes import Shape
from gateway.cost.accountant.questions import BreakEvenQuestion, ForecastQuestion, JumpsQuestion
from gateway.cost.allocation import IdlePolicy
from gateway.cost.anomalies import Cause
from gateway.cost.cases import Terms, case_of
from gateway.cost.list_prices import STAYS, list_prices
from gateway.cost.looking_up import LookUps
from gateway.cost.outlook import MOST_LOOKED_AT
from gateway.cost.pooling import DEFAULT_DAYS, MOST_DAYS
from gateway.cost.reporting import names_in
from gateway.cost.scenario import Case, Verdict, compare
from gateway.cost.scenario_words import document, notes, retirement_said, verdict_said
from registry.days import day_ms
from registry.db import now_ms

GUIDE = Case()
MOST = 10**15
"""Requests, tokens and dollars that a scenario may have."""
Dollars = Annotated[float, Field(description="Dollars, to the cent.")]
Number = Annotated[int, Query(ge=0, le=MOST)]
Tenant = Annotated[str | None, Query(description="Only this tenant's.")]
Baselines = Annotated[
    str | None,
    Query(max_length=2_000, description="APIs to compare with, commas between them; default: the usual ones."),
]
PriceVersion = Annotated[str | None, Query(description="Of the log of list prices, as an earlier answer named it.")]


class ScenarioBaseline(Shape):
    """One API."""

    monthly_usd: Dollars
    training_usd: float | None = Field(description="Once; null: it trains nobody's model.")
    status: str | None = Field(description="live, retiring or retired; null: not known.")


class SelfHosted(Shape):
    """The GPUs."""

    monthly_usd: Dollars


class ScenarioDocument(Shape):
    """What a month costs at each API and on GPUs of one's own."""

    baselines: dict[str, ScenarioBaseline] = Field(description="By name.")
    self_hosted: SelfHosted
    break_even_requests: int | None = Field(
        description="A month, from which on GPUs cost less than the cheapest API that can still be asked; null: never."
    )
    verdict: Verdict = Field(description="What to do.")
    price_version: str = Field(description="Of the log of list prices that was read.")
    sentences: list[str] = Field(description="What to do, and what it rests on.")


class Ahead(Shape):
    """What a month comes to. Dollars are decimal numbers in text; null: too early."""

    booked_dollars: str = Field(description="Until now.")
    expected_dollars: str | None = Field(description="At its end; null: too early to say.")
    low_dollars: str | None = Field(description="Of ten months nine end between this …")
    high_dollars: str | None = Field(description="… and this.")
    days: int = Field(description="Whole days that it is made of; too early below 14.")


class TenantAhead(Shape):
    """One tenant."""

    tenant: str = Field(description="Whose month it is.")
    requests: int = Field(description="This month, until now.")
    unpriced: int = Field(description="Of the requests, those for which no tariff was in force.")
    tariff: Ahead | None = Field(description="At the tariff; null: nothing had a price.")
    engine_cost: Ahead | None = Field(
        description="What engines cost for it, idle time as the policy has it, by whole days; null: not known."
    )
    baselines: dict[str, Ahead | None] = Field(description="On each API that was asked for.")


class ForecastDocument(Shape):
    """Of the month that is running (UTC)."""

    month_starts_ms: int = Field(description="Beginning of the month (UTC), in milliseconds since the epoch.")
    month_ends_ms: int = Field(description="End of the month (UTC), exclusive, in milliseconds since the epoch.")
    model: str = Field(description="How it is made, in a clause.")
    price_version: str = Field(description="Of the log of prices that was read.")
    engine_uncosted: int = Field(
        description="Attempts on engines without a cost, in the days that engine costs are made of; in no figure."
    )
    tenants: list[TenantAhead] = Field(description="By name.")
    of_tenants: int = Field(description="That there are, with those that `most` left out.")


class JumpPart(Shape):
    """What one cause adds to the difference."""

    key_id: str = Field(description="The key that it came by; null: all keys.")
    model: str = Field(description="tenant/adapter, or a base.")
    version: str | None = Field(description="What began to answer that day, where that is most of it.")
    cause: Cause = Field(description="What has changed.")
    amount: str = Field(description="In the unit of the day.")
    was: float = Field(description="Requests, tokens a request, or the price of a token, on a usual day.")
    is_: float = Field(validation_alias="is", serialization_alias="is", description="The same on this one.")


class JumpDocument(Shape):
    """A day on which a tenant cost much more than expected."""

    tenant: str = Field(description="Whose day it was.")
    date: str = Field(description="YYYY-MM-DD (UTC).")
    unit: str = Field(description="dollars, or weighted tokens of a tenant without a tariff.")
    amount: str = Field(description="What the day came to.")
    expected: str = Field(description="What it was expected to come to.")
    times: float = Field(description="The amount over what was expected.")
    difference: str = Field(description="To a usual day: what all parts come to, also those that are not shown.")
    parts: list[JumpPart] = Field(description="The three largest.")
    sentence: str = Field(description="The same in words, with the cause.")


class AnomaliesDocument(Shape):
    """Days that were unlike the others, the newest first."""

    anomalies: list[JumpDocument]


class TenantEven(Shape):
    """A tenant on the shared engines. Dollars a month are decimal numbers in text."""

    tenant: str = Field(description="Whose traffic it is.")
    requests: int = Field(description="A month.")
    baseline_dollars: str = Field(description="What they would cost on the API.")
    loaded_dollars: str = Field(description="Its share of the bill, by the idle policy.")
    savings_dollars: str = Field(description="Against the API; negative: the API costs less.")
    shapley_dollars: str = Field(description="Its fair share, if all did what costs all of them less.")
    break_even_requests_alone: int | None = Field(description="On engines of its own; null: never.")
    break_even_requests_shared: int | None = Field(description="While the others stay; null: never.")
    more_tenants_like_it: float | None = Field(description="Until the engines pay; negative: so many could leave.")


class Leaving(Shape):
    """What follows if the tenant leaves: the bill stays."""

    tenant: str = Field(description="Who leaves.")
    savings_dollars: str = Field(description="Of all who stay, against the API.")
    more_dollars: dict[str, str] = Field(description="By tenant, what it pays more a month.")
    nobody_dollars: str = Field(description="What is added to the idle time that no tenant pays.")


class BreakEvenDocument(Shape):
    """From how many requests the engines that are there pay. Dollars a month are decimal numbers in text."""

    baseline: str = Field(description="The API that is compared with.")
    days: int = Field(description="Whole days that were looked at.")
    idle_policy: str = Field(description="Who pays for the time in which engines do nothing.")
    price_version: str = Field(description="Of the log of prices that was read.")
    bill_dollars: str = Field(description="Of all engines.")
    platform_dollars: str = Field(description="Of the bill, for copies and our own probes: no tenant pays it.")
    baseline_dollars: str = Field(description="What all requests would cost on the API.")
    savings_dollars: str = Field(description="Negative: the API costs less.")
    shapley_orders: int | None = Field(
        description="Orders of tenants that were drawn for the fair shares; null: these are exact."
    )
    requests: int = Field(description="Of all tenants, a month.")
    break_even_requests: int | None = Field(description="Of tenants as they are, a month; null: never.")
    unlisted: int = Field(description="Requests of these days without a list price; they are in no figure.")
    tenants: list[TenantEven]
    if_it_leaves: Leaving | None = Field(description="Of the tenant that was asked for.")
    sentences: list[str] = Field(description="The same in words.")


def add_cost_analysis(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    look_ups = LookUps(office.registry)
    _add_scenario(router, office, look_ups)
    _add_break_even(router, office, look_ups)

    @router.get("/cost/forecast", response_model=ForecastDocument)
    def show_forecast(
        tenant: Tenant = None,
        most: Annotated[
            int | None, Query(ge=1, description="Only so many tenants: those that were charged most this month.")
        ] = None,
        baseline: Baselines = None,
        price_version: PriceVersion = None,
    ) -> Response:
        """What each tenant's month will come to, with an interval."""
        look_ups.look_up(names_in(baseline), price_version)
        return answered(office, ForecastQuestion(tenant, most, baseline, price_version))

    @router.get("/cost/anomalies", response_model=AnomaliesDocument)
    def show_anomalies(
        tenant: Tenant = None,
        days: Annotated[int, Query(ge=1, le=MOST_LOOKED_AT, description="Whole days (UTC), yesterday the last.")] = 1,
    ) -> Response:
        """Days on which a tenant cost much more than was to be expected, and what made the difference: as it was found
        when the day was over.
        """
        return answered(office, JumpsQuestion(tenant, days))


def _add_scenario(router: APIRouter, office: Office, look_ups: LookUps) -> None:
    registry = office.registry

    @router.get("/cost/scenario")
    def show_scenario(
        requests: Annotated[int, Query(ge=1, le=MOST, description="A month.")] = GUIDE.requests,
        input_tokens: Number = GUIDE.input_tokens,
        output_tokens: Number = GUIDE.output_tokens,
        cached_share: Annotated[str | None, Query(description="Of input that the API's cache has, 0 to 1.")] = None,
        batch_share: Annotated[str | None, Query(description="Of requests that can wait for a batch, 0 to 1.")] = None,
        gpu_month: Annotated[str | None, Query(description="Dollars a month of one GPU; default: 2000.")] = None,
        gpu_hour: Annotated[str | None, Query(description="Dollars an hour instead; a month has 730.")] = None,
        gpus: Annotated[int, Query(ge=1, le=100_000)] = 1,
        requests_per_gpu: Annotated[int | None, Query(ge=1, le=MOST, description="A month; null: all of them.")] = None,
        training_tokens: Number = GUIDE.training_tokens,
        own_training: Annotated[str | None, Query(description="Dollars of training once here; default: 100.")] = None,
        baseline: Baselines = None,
        at: Annotated[str | None, Query(description="Prices of this day, YYYY-MM-DD (UTC); default: now.")] = None,
        price_version: PriceVersion = None,
    ) -> ScenarioDocument:
        """What a month of supposed traffic costs; without anything said it is the case of the fine-tuning guide."""
        shape = Case(
            requests,
            input_tokens,
            output_tokens,
            engines=gpus,
            requests_an_engine=requests_per_gpu,
            training_tokens=training_tokens,
        )
        case = case_of(shape, Terms(cached_share, batch_share, gpu_month, gpu_hour, own_training))
        at_ms = now_ms() if at is None else day_ms(at, "at")
        look_ups.look_up(names_in(baseline), price_version)
        prices = list_prices(registry.baselines, names_in(baseline), at_ms, price_version)
        found = compare(case, prices.listed, unlisted=prices.unlisted, price_version=prices.version)
        said = [verdict_said(found), *filter(None, [retirement_said(found)]), *notes(found)]
        return ScenarioDocument.model_validate({**document(found), "price_version": prices.version, "sentences": said})


def _add_break_even(router: APIRouter, office: Office, look_ups: LookUps) -> None:
    @router.get("/cost/break-even", response_model=BreakEvenDocument)
    def show_break_even(
        baseline: Annotated[str, Query(description="The API that is the alternative.")] = STAYS,
        tenant: Annotated[str | None, Query(description="Say what it needs, and what follows if it leaves.")] = None,
        days: Annotated[
            int, Query(ge=3, le=MOST_DAYS, description="Whole days (UTC), yesterday the last.")
        ] = DEFAULT_DAYS,
        gpu_month: Annotated[
            str | None, Query(description="Dollars a month of all engines; default: their cost.")
        ] = None,
        idle: Annotated[IdlePolicy | None, Query(description="Who pays for idle time; default: as it was put.")] = None,
        price_version: PriceVersion = None,
    ) -> Response:
        """From how many requests a month self-hosting pays, for each tenant and for all."""
        look_ups.look_up([baseline], price_version)
        return answered(office, BreakEvenQuestion(baseline, tenant, days, gpu_month, idle, price_version))
