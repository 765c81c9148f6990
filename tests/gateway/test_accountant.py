"""Costs of large books are added up by a process of its own, and come to what this one would have said."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from gateway.api.admin.cost_analysis import AnomaliesDocument, BreakEvenDocument, ForecastDocument
from gateway.api.admin.cost_shapes import CostReportDocument
from gateway.api.admin.shapes import Shape
from gateway.cost.accountant import __main__ as child
from gateway.cost.accountant import asking
from gateway.cost.accountant.asking import Accountant
from gateway.cost.accountant.questions import (
    BreakEvenQuestion,
    ForecastQuestion,
    JumpsQuestion,
    Question,
    ReportQuestion,
)
from gateway.errors import Overloaded
from registry.days import DAY_MS, date_of, day_number, day_of
from registry.db import now_ms
from registry.errors import InvalidInput, NotFound
from registry.service import Registry
from tests.support.cost_parts import DAYS, add_baseline, add_engines, add_traffic
from tests.support.stack import House
from tests.support.waiting import wait_until

FIRST_MS = day_of(now_ms())[0] - 7 * DAY_MS
"""Of the traffic: what asks for the last days finds it, whenever this runs."""
REPORT = ReportQuestion(
    since=date_of(day_number(FIRST_MS)), until=date_of(day_number(FIRST_MS) + DAYS), explain=True, baseline="an-api"
)
EVEN = BreakEvenQuestion(baseline="an-api", days=30, gpu_month="2000")


@pytest.fixture
def books(house: House) -> Registry:
    add_engines(house.registry, first_ms=FIRST_MS)
    add_baseline(house.registry, effective_from_ms=FIRST_MS)
    add_traffic(house.registry, FIRST_MS)
    return house.registry


@pytest.fixture
def accountant(books: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Accountant]:
    """Of books that are too large."""
    monkeypatch.setattr(asking, "FEW_SUMS", 1)
    with closing(Accountant(books)) as accountant:
        yield accountant


@pytest.mark.parametrize(
    ("question", "shape"),
    [
        (REPORT, CostReportDocument),
        (EVEN, BreakEvenDocument),
        (ForecastQuestion(baseline="an-api"), ForecastDocument),
        (JumpsQuestion(days=7), AnomaliesDocument),
    ],
)
def test_an_answer_is_what_docs_show(books: Registry, question: Question, shape: type[Shape]) -> None:
    said = json.loads(Accountant(books).ask(question).body)
    assert said == json.loads(shape.model_validate(said).model_dump_json(by_alias=True))


def test_the_child_says_what_this_process_would(books: Registry, accountant: Accountant) -> None:
    for question in (REPORT, EVEN):
        assert accountant.ask(question) == question.answer(books)
    page = ReportQuestion(since=REPORT.since, until=REPORT.until, form="csv", limit=1)
    first = accountant.ask(page)
    assert (first.media_type, first.body.count(b"\n")) == ("text/csv; charset=utf-8", 2)
    assert first.following is not None


def test_few_sums_need_no_child(books: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    assert json.loads(Accountant(books).ask(REPORT).body)["by"] == "tenant"


def test_faults_are_those_of_the_question(accountant: Accountant) -> None:
    with pytest.raises(InvalidInput, match="by is 'moon'") as wrong:
        accountant.ask(ReportQuestion(by="moon"))
    assert wrong.value.param == "by"
    with pytest.raises(NotFound, match="nobody"):
        accountant.ask(ForecastQuestion(tenant="nobody"))


@pytest.mark.starts_anew
def test_a_child_that_has_ended_is_followed_by_another(accountant: Accountant) -> None:
    before = accountant.ask(REPORT).body
    process: Any = accountant._child.process
    process.stdin.close()
    wait_until("it to end", lambda: process.poll() is not None)
    assert accountant.ask(REPORT).body == before
    assert accountant._child.process is not process


def test_one_that_cannot_be_started_is_a_503(books: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FEW_SUMS", 1)
    monkeypatch.setattr(asking, "COMMAND", ("/nowhere/to/be/found",))
    with pytest.raises(Overloaded, match="could not be started") as gone:
        Accountant(books).ask(REPORT)
    assert (gone.value.code, gone.value.retry_after_s) == ("accountant_gone", asking.RETRY_AFTER_S)


def test_whoever_has_to_wait_too_long_for_others_questions_hears_it(
    accountant: Accountant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "WITHIN_S", 0.01)
    with accountant._one_at_a_time, pytest.raises(Overloaded, match="added up for others") as busy:
        accountant.ask(REPORT)
    assert (busy.value.code, busy.value.retry_after_s) == ("accountant_busy", asking.RETRY_AFTER_S)


def test_a_child_whom_nobody_asks_ends_and_so_does_one_whose_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    for idle_s, ends in ((0.01, "the time"), (60.0, "the pipe")):
        read, write = os.pipe()
        with open(read, "rb") as asked, open(write, "wb") as asks:
            monkeypatch.setattr(child, "IDLE_S", idle_s)
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(asked))
            asks.write(b"one\n" if ends == "the pipe" else b"")
            if ends == "the pipe":
                asks.close()
            assert list(child._lines()) == ([b"one\n"] if ends == "the pipe" else [])
