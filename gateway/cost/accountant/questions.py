"""What can be asked: parameters as the admin API has them. An answer is the body of a response."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from gateway.cost.assumptions import assumptions_of
from gateway.cost.costing import named_idle
from gateway.cost.known_jumps import jump_documents
from gateway.cost.list_prices import STAYS
from gateway.cost.outlook import forecasts
from gateway.cost.outlook_words import forecast_document
from gateway.cost.pool_words import document as pool_document
from gateway.cost.pooling import DEFAULT_DAYS, PoolAsked, bill_given, pool_of
from gateway.cost.report import CostLine, CostReport
from gateway.cost.report_csv import csv_of
from gateway.cost.report_document import document_of, mark_of
from gateway.cost.reporting import Asked, focus_of, in_order, names_in, report_of
from registry.days import day_ms
from registry.db import now_ms
from registry.engine_costs.log import NOTHING
from registry.errors import InvalidInput
from registry.service import Registry

JSON, CSV = "application/json", "text/csv; charset=utf-8"


class Answer(NamedTuple):
    """The body of a response."""

    body: bytes
    media_type: str = JSON
    following: str | None = None
    """Of CSV: where the next page begins."""


@dataclass(frozen=True, slots=True)
class ReportQuestion:
    """A page of a cost report; `since` and `until` are YYYY-MM-DD, `form` is json, csv or focus."""

    by: str = "tenant"
    tenant: str | None = None
    since: str | None = None
    until: str | None = None
    idle: str | None = None
    order: str = "name"
    explain: bool = False
    form: str = "json"
    after: str | None = None
    limit: int = 200
    baseline: str | None = None
    price_version: str | None = None
    cost_version: str | None = None
    cached_share: str | None = None
    batch_share: str = "0"

    def answer(self, registry: Registry) -> Answer:
        """Raises `InvalidInput`, `NotFound`."""
        mark = None if self.after is None else PageMark.parse(self.after)
        until_ms = day_ms(self.until, "until") if self.until else now_ms()
        asked = Asked(
            by=self.by,
            since_ms=day_ms(self.since, "from") if self.since else None,
            until_ms=until_ms if mark is None else mark.until_ms,
            tenant=self.tenant,
            baselines=names_in(self.baseline),
            price_version=self.price_version if mark is None else mark.price_version,
            cost_version=self.cost_version if mark is None else mark.cost_version,
            idle=named_idle(registry, self.idle, self.cost_version),
            assumed=assumptions_of(self.cached_share, self.batch_share),
        )
        if self.form == "focus":
            return Answer(focus_of(registry, asked).encode(), CSV)
        report = in_order(report_of(registry, asked), self.order)
        lines, following = _page(report, mark, self.limit)
        if self.form == "csv":
            return Answer(csv_of(report, lines).encode(), CSV, following)
        document = {"explain": None, **document_of(report, lines, explained=self.explain), "next": following}
        return in_json(document)


@dataclass(frozen=True, slots=True)
class ForecastQuestion:
    """What each tenant's month will come to, or that of the `most` dearest."""

    tenant: str | None = None
    most: int | None = None
    baseline: str | None = None
    price_version: str | None = None

    def answer(self, registry: Registry) -> Answer:
        """Raises `NotFound`."""
        found = forecasts(
            registry,
            now_ms(),
            tenant=self.tenant,
            most=self.most,
            baselines=names_in(self.baseline),
            price_version=self.price_version,
        )
        return in_json(forecast_document(found))


@dataclass(frozen=True, slots=True)
class BreakEvenQuestion:
    """From how many requests a month engines of one's own pay."""

    baseline: str = STAYS
    tenant: str | None = None
    days: int = DEFAULT_DAYS
    gpu_month: str | None = None
    idle: str | None = None
    price_version: str | None = None

    def answer(self, registry: Registry) -> Answer:
        """Raises `InvalidInput`, `NotFound`."""
        bill = None if self.gpu_month is None else bill_given(self.gpu_month)
        policy = named_idle(registry, self.idle)
        asked = PoolAsked(self.baseline, self.tenant, self.days, bill, policy, self.price_version)
        return in_json(pool_document(pool_of(registry, asked, now_ms())))


@dataclass(frozen=True, slots=True)
class JumpsQuestion:
    """Days on which a tenant cost much more than was to be expected."""

    tenant: str | None = None
    days: int = 1

    def answer(self, registry: Registry) -> Answer:
        """Raises `InvalidInput`, `NotFound`."""
        return in_json({"anomalies": jump_documents(registry, now_ms(), tenant=self.tenant, days=self.days)})


Question = ReportQuestion | ForecastQuestion | BreakEvenQuestion | JumpsQuestion
QUESTIONS: Mapping[str, type[Question]] = {
    one.__name__: one for one in (ReportQuestion, ForecastQuestion, BreakEvenQuestion, JumpsQuestion)
}


_MARK = re.compile(r"([0-9]{1,15}) (p\S{1,40}) (c\S{1,120}) (.+)")


class PageMark(NamedTuple):
    """The last line of a page, and of which instant and by which versions the page is: the next is of the same."""

    until_ms: int
    price_version: str
    cost_version: str
    line: str

    @classmethod
    def parse(cls, text: str) -> PageMark:
        """As `next` of a page has it. Raises `InvalidInput`."""
        form = _MARK.fullmatch(text)
        if form is None:
            raise _no_mark(text)
        return cls(int(form[1]), form[2], form[3], form[4])

    def __str__(self) -> str:
        return " ".join(map(str, self))


def _no_mark(text: str) -> InvalidInput:
    return InvalidInput(f"after is {text!r:.80}; send `next` of the page before", param="after")


def _page(report: CostReport, after: PageMark | None, limit: int) -> tuple[tuple[CostLine, ...], str | None]:
    """The lines of one page, and the mark of the next one."""
    marks = [mark_of(line) for line in report.lines]
    if after is not None and after.line not in marks:
        raise _no_mark(after.line)
    begin = 0 if after is None else marks.index(after.line) + 1
    lines = report.lines[begin : begin + limit]
    if begin + limit >= len(marks):
        return lines, None
    version = report.engines.cost_version or NOTHING
    return lines, str(PageMark(report.until_ms, report.price_version, version, marks[begin + limit - 1]))


def in_json(document: Any) -> Answer:
    """A document as the body of a response."""
    return Answer(orjson.dumps(document))
