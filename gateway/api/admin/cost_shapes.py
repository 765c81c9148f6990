"""What `/admin/v1/cost/report` and `/admin/v1/cost/statement` answer, as /docs shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.api.admin.shapes import Next, Shape
from gateway.cost.allocation import LineKind
from gateway.cost.assumptions import Label
from registry.ledger.usage_cells import CostBy

DOLLARS = "a decimal number in text; null: not known"


class EngineCostDocument(Shape):
    """What engines cost for a line, three ways."""

    marginal_dollars: str | None = Field(description=f"What would not have been paid without it: {DOLLARS}.")
    busy_dollars: str | None = Field(description=f"Its share of the time in which engines worked: {DOLLARS}.")
    loaded_dollars: str | None = Field(description=f"With its share of idle time, by the idle policy: {DOLLARS}.")


class BaselineCostDocument(Shape):
    """What a line would have cost on a baseline."""

    cost_dollars: str | None = Field(description=f"By the prices in force when requests began: {DOLLARS}.")
    cost_interval_dollars: tuple[str, str] | None = Field(
        description="In which it is while every ratio of tokens is within its interval; null unless all have one. The "
        "ends of a sum are the sums of the ends."
    )
    label: Label = Field(
        description="How its tokens are known: counted with its tokenizer, from a sample sent to it, or taken as ours."
    )
    savings_dollars: str | None = Field(
        description=f"Less the loaded engine cost; negative: the API is cheaper. {DOLLARS}."
    )
    savings_interval_dollars: tuple[str, str] | None = Field(description="The same of the savings.")
    unlisted: int = Field(description="Requests for which no list price was in force.")


class CostLineDocument(Shape):
    """Requests that began in the window, or what engines did beside them."""

    kind: LineKind = Field(description="Tenants' requests; copies of them; our probes; or what no request did.")
    tenant: str | None = Field(description="Null where a line is of all tenants, or of none.")
    name: str = Field(description="The tenant, tenant/adapter, version, key, YYYY-MM-DD (UTC), engine or arm.")
    requests: int = Field(description="Answered: to the end, or until the client left.")
    failed: int = Field(description="Ended otherwise: nobody pays for them.")
    prompt_tokens: int = Field(description="Of answered requests, as are the next two.")
    cached_tokens: int = Field(description="Of the prompt tokens, those that came from the prefix cache.")
    completion_tokens: int = Field(description="Sum, as booked.")
    tariff_dollars: str | None = Field(description=f"What they are charged: {DOLLARS}.")
    margin_dollars: str | None = Field(description=f"Tariff less loaded engine cost: {DOLLARS}.")
    engine_cost: EngineCostDocument | None = Field(description="Null in a statement for the tenant.")
    baselines: dict[str, BaselineCostDocument] = Field(description="By the baseline's name.")
    unpriced: int = Field(description="Answered requests that would be charged, and for which no tariff was in force.")
    uncosted: int | None = Field(description="Requests on engines of which nobody has said what they cost.")
    unsettled: int = Field(description="Attempts that an engine worked on and of which nobody knows the tokens.")


class PriceDocument(Shape):
    """A price of one component of a baseline, in force in the window."""

    component: str = Field(description="What it is the price of.")
    dollars_per_mtok: str = Field(description="Dollars per million tokens, a decimal number in text.")
    from_ms: int = Field(description="When it begins, in milliseconds since the epoch.")
    until_ms: int | None = Field(description="Null: until further notice.")
    source: str = Field(description="Where the figure is from.")
    retrieved_at_ms: int | None = Field(description="When the source was read.")
    seq: int = Field(description="Its line in the price log.")


class RatioDocument(Shape):
    """A baseline's tokens for each of ours."""

    tenant: str | None = Field(description="Null: of all for which no other is known.")
    label: Label = Field(description="measured, calibrated or assumed.")
    prompt: float = Field(description="The API's tokens for one of ours in prompts.")
    prompt_interval: tuple[float, float] | None = Field(description="In which it lies with 95 %.")
    completion: float = Field(description="The API's tokens for one of ours in answers.")
    completion_interval: tuple[float, float] | None = Field(description="In which it lies with 95 %.")
    why: str = Field(description="What it rests on.")


class ComparedDocument(Shape):
    """A baseline, its prices and what is assumed of it."""

    name: str = Field(description="Of the API model.")
    state: Literal["live", "retiring", "retired"] | None = Field(
        description="live, retiring or retired; null: not known."
    )
    ends_at_ms: int | None = Field(description="When it is, or was, shut down.")
    substitute: str | None = Field(description="The baseline that takes its place; null: none is known.")
    tokenizer: str | None = Field(description="That tokens were counted with; null: not known.")
    assumptions: list[str] = Field(description="A sentence each.")
    token_ratios: list[RatioDocument]
    prices: list[PriceDocument]


class ExplainedDocument(Shape):
    """One figure of one line, opened."""

    tenant: str | None = Field(description="Of the line.")
    line: str = Field(description="The line's name.")
    figure: str = Field(description="As in the line, such as engine_cost.busy_dollars.")
    value: str = Field(description="What it comes to.")
    formula: str = Field(description="With the figures put in.")
    filled: list[str] = Field(description="The formula with its figures, a term each.")
    version: str | None = Field(description="Of the log that its prices are from.")
    rows: list[int] = Field(description="Lines of that log.")
    query: str | None = Field(description="SQL that gives the counts; of engine costs, the address of the bill.")


class CostReportDocument(Shape):
    """A page of lines; the total is of all pages."""

    by: CostBy = Field(description="What a line stands for.")
    tenant: str | None = Field(description="The only tenant that is shown; null: all.")
    since_ms: int = Field(description="Beginning of the window, in milliseconds since the epoch.")
    until_ms: int = Field(description="Its end, exclusive, in milliseconds since the epoch.")
    price_version: str = Field(description="Of the log of prices that was read.")
    cost_version: str | None = Field(description="Asked for with it, engines cost the same again.")
    idle_policy: str | None = Field(description="Who pays for the time in which engines do nothing.")
    weights: list[str] = Field(description="What says how much engines work for a token: fits, or that it is assumed.")
    bill_dollars: str | None = Field(description=f"What was paid for engines, for all tenants: {DOLLARS}.")
    baselines: list[ComparedDocument]
    lines: list[CostLineDocument]
    total: CostLineDocument
    sentences: list[str] = Field(description="What it comes to, in words.")
    explain: list[ExplainedDocument] | None = Field(None, description="Of this page's lines, where it was asked for.")
    next: Next


class StatementTariff(Shape):
    """A price that held in the month, in dollars per million tokens."""

    scope: str = Field(description="base:NAME, tenant:NAME or adapter:tenant/adapter.")
    effective_from_ms: int = Field(description="When it began, in milliseconds since the epoch.")
    input: str = Field(description="Dollars per million tokens of prompts.")
    cached_input: str = Field(description="Dollars per million tokens of prompts that were in the cache.")
    output: str = Field(description="Dollars per million tokens of answers.")
    source: str = Field(description="Where the figure is from.")


class StatementDocument(Shape):
    """A tenant's month."""

    tenant: str = Field(description="Whose it is.")
    month: str = Field(description="YYYY-MM (UTC).")
    complete: bool = Field(description="Whether the month is over.")
    made_at_ms: int = Field(description="When it was made, in milliseconds since the epoch.")
    since_ms: int = Field(description="Beginning of the month, in milliseconds since the epoch.")
    until_ms: int = Field(description="Its end, exclusive, in milliseconds since the epoch.")
    charged_dollars: str | None = Field(description=f"All of it: {DOLLARS}.")
    price_version: str = Field(description="Of the log of prices that was read.")
    cost_version: str | None = Field(
        description="Asked for with it, engines cost the same again; null: they are left out."
    )
    versions: list[CostLineDocument]
    days: list[CostLineDocument]
    total: CostLineDocument
    tariffs: list[StatementTariff]
    sentences: list[str] = Field(description="The same in words.")
