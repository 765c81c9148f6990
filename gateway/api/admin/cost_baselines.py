"""`/admin/v1/cost/baselines`: what APIs charge, dated and sourced, and how long they can be asked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from gateway.api.admin.office import Office, in_json, one_page
from gateway.api.admin.shapes import PRINTABLE, After, Day, Dollars, Limit, Next, Order, Shape
from gateway.cost.baseline_words import document, is_stale
from registry.days import day_ms
from registry.db import now_ms
from registry.errors import InvalidInput
from registry.prices.baseline_infos import COMPONENTS, State
from registry.prices.baseline_writing import Facts
from registry.prices.baselines import Baselines

Text = Annotated[str, Field(max_length=500, pattern=PRINTABLE)]
PerMtok = Annotated[Dollars | None, Field(description="Dollars per million tokens; in a correction null is no price.")]
PriceVersion = Annotated[
    str | None, Query(description="As it was known then, such as p57-1f0c9a3e; default: as it is known now.")
]


class SourcedDocument(Shape):
    """What a line of the log says of a baseline beside its prices."""

    text: str = Field(description="What is said.")
    source: str = Field(description="Where it is from.")
    retrieved_on: str | None = Field(description="Day on which the source was read, YYYY-MM-DD (UTC).")
    note: str = Field(description="What is doubtful about it.")
    seq: int = Field(description="The line of the log.")


class ClaimDocument(Shape):
    """A figure that somebody names for a month. It is no price."""

    dollars_a_month: str = Field(description="A decimal number in text.")
    workload: str = Field(description="What it is said of.")
    source: str = Field(description="Where it is from.")
    note: str = Field(description="What is doubtful about it.")


class BaselinePriceDocument(Shape):
    """The price of one component in one period."""

    component: str = Field(
        description="What it is the price of: input, cached_input, output, batch_input, batch_output or training."
    )
    dollars: str = Field(description="Per million tokens, a decimal number in text.")
    effective_from: str | None = Field(description="First day that it holds; null: it has none, and held since ever.")
    until: str | None = Field(description="First day that it does not hold any more; null: until further notice.")
    source: str = Field(description="Where the figure is from.")
    retrieved_on: str | None = Field(description="Day on which the source was read.")
    note: str = Field(description="What is doubtful about it.")
    origin: str = Field(description="operator, shipped (with this package), genai-prices, or moved (from before).")
    correction: bool = Field(description="Whether it took the place of what the log said of the same days.")
    stated_from: str | None = Field(description="From when it should have held by its source, where that came later.")
    seq: int = Field(description="The line of the log.")


class BaselineDocument(Shape):
    """A baseline: an API that the same traffic could have gone to."""

    name: str = Field(description="Of the API model, such as ft:gpt-4o-mini.")
    status: State | None = Field(description="null: nothing is known of it.")
    ends_on: str | None = Field(description="Day on which it is, or was, shut down, YYYY-MM-DD (UTC).")
    substitute: str | None = Field(description="The baseline that takes its place.")
    tokenizer: str | None = Field(
        description="An encoding of tiktoken, or the path of a tokenizer.json; null: not known."
    )
    provider: str | None = Field(description="Who sells it; null: not known.")
    checked_on: str | None = Field(description="Day on which a source of its prices was last read.")
    stale: bool = Field(description="Whether that is longer ago than SWITCHYARD_PRICE_STALE_DAYS.")
    claim: ClaimDocument | None = Field(description="What somebody says that a month costs there; null: nobody does.")
    facts: dict[str, SourcedDocument] = Field(description="Where status, substitute, tokenizer and provider are from.")
    prices: list[BaselinePriceDocument]


class KnownBaseline(BaselineDocument):
    """One, with the price version by which it is shown."""

    price_version: str = Field(description="Of the log of prices that was read.")


class BaselinesDocument(Shape):
    """A page of baselines, by name."""

    price_version: str = Field(description="Of the log of prices that was read.")
    baselines: list[BaselineDocument]
    next: Next


class PriceOrder(Order):
    """Prices of one baseline from one day on."""

    name: str = Field(max_length=200, description="Of the baseline, such as ft:gpt-4o-mini.")
    input: PerMtok = None
    cached_input: PerMtok = None
    output: PerMtok = None
    batch_input: PerMtok = None
    batch_output: PerMtok = None
    training: PerMtok = None
    effective_from: Day | None = Field(None, description="First day, YYYY-MM-DD (UTC); default: today.")
    correction: bool = Field(False, description="Whether to say that prices of days that had one were wrong.")
    source: Text = Field(description="Where the figures are from.")
    retrieved: Day | None = Field(None, description="Day on which the source was read; default: today.")
    note: Text = Field("", description="What is doubtful about them.")


class FactsOrder(Order):
    """What is to be said of a baseline; what is left out stays."""

    status: Literal["live", "retiring", "retired"] | None = Field(None, description="live, retiring or retired.")
    ends_on: Day | None = Field(None, description="Of retiring and retired: the day on which it is shut down.")
    substitute: Text | None = Field(None, description="The baseline that takes its place; an empty text: none.")
    tokenizer: Text | None = Field(None, description="An encoding of tiktoken, or the path of a tokenizer.json.")
    provider: Text | None = Field(None, description="Who sells it.")
    claim: Dollars | None = Field(None, description="Dollars a month that somebody names; never a price.")
    workload: Text = Field("", description="What the claim is said of.")
    source: Text = Field(description="Where it is from.")
    retrieved: Day | None = Field(None, description="Day on which the source was read; default: today.")
    note: Text = Field("", description="What is doubtful about it.")


def add_cost_baselines(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    baselines, stale_days = office.registry.baselines, office.registry.settings.price_stale_days

    @router.get("/cost/baselines", response_model=BaselinesDocument)
    def list_baselines(price_version: PriceVersion = None, after: After = None, limit: Limit = 200) -> Response:
        """Every baseline, with all of its prices."""
        version = price_version or baselines.version()
        names = [name for name in baselines.names(version) if after is None or name > after]
        page, following = one_page(names, limit, str)
        return in_json(
            BaselinesDocument(
                price_version=version,
                baselines=[BaselineDocument(**_known(baselines, name, version, stale_days)) for name in page],
                next=following,
            )
        )

    @router.post("/cost/baselines")
    def add_prices(order: PriceOrder) -> KnownBaseline:
        """Add prices, or correct them. A day before today is taken where the component had no price by then."""
        version = _write_prices(baselines, order)
        return KnownBaseline(**_known(baselines, order.name, version, stale_days), price_version=version)

    @router.get("/cost/baselines/{name:path}")
    def show_baseline(name: str, price_version: PriceVersion = None) -> KnownBaseline:
        """One baseline: every price that held or is to come, and where it is from."""
        version = price_version or baselines.version()
        return KnownBaseline(**_known(baselines, name, version, stale_days), price_version=version)

    @router.patch("/cost/baselines/{name:path}")
    def say_of_baseline(name: str, order: FactsOrder) -> KnownBaseline:
        """Say whether it is live, retiring or retired, and what else is known of it; the last word counts."""
        facts = Facts(
            order.status,
            None if order.ends_on is None else day_ms(order.ends_on, "ends_on"),
            order.substitute,
            order.tokenizer,
            order.provider,
            None if order.claim is None else (order.claim, order.workload),
        )
        version = baselines.say(
            name, facts, source=order.source, retrieved_at_ms=_day(order.retrieved, "retrieved"), note=order.note
        )
        return KnownBaseline(**_known(baselines, name, version, stale_days), price_version=version)


def _write_prices(baselines: Baselines, order: PriceOrder) -> str:
    given: dict[str, str | None] = {name: getattr(order, name) for name in COMPONENTS if name in order.model_fields_set}
    from_ms, read_ms = _day(order.effective_from, "effective_from"), _day(order.retrieved, "retrieved")
    if order.correction:
        if from_ms is None:
            raise InvalidInput("effective_from is missing; a correction says from when on", param="effective_from")
        return baselines.correct(
            order.name,
            given,
            source=order.source,
            effective_from_ms=from_ms,
            retrieved_at_ms=read_ms,
            note=order.note,
        )
    dollars = {name: price for name, price in given.items() if price is not None}
    if missing := sorted(given.keys() - dollars.keys()):
        raise InvalidInput(
            f"{missing[0]} is null, which only a correction may say; leave it out or give dollars", param=missing[0]
        )
    return baselines.add_prices(
        order.name,
        dollars,
        source=order.source,
        effective_from_ms=from_ms,
        retrieved_at_ms=read_ms,
        note=order.note,
    )


def _day(text: str | None, param: str) -> int | None:
    return None if text is None else day_ms(text, param)


def _known(baselines: Baselines, name: str, version: str, stale_days: int) -> dict[str, Any]:
    info = baselines.info(name, version)
    return document(info, baselines.prices(name, version), is_stale(info, now_ms(), stale_days))
