"""The log of baselines: dated, sourced prices that are never changed, and what they were at any version of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from registry.days import DAY_MS
from registry.errors import Conflict, InvalidInput, NotFound
from registry.money import cost_nano
from registry.prices.baseline_writing import Facts
from registry.prices.baselines import Baselines
from registry.service import Registry

TODAY = 20_000 * DAY_MS
DOLLAR = 1_000_000_000


@dataclass
class Clock:
    now_ms: int = TODAY + 7_200_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(registry: Registry, clock: Clock) -> Baselines:
    return Baselines(registry.db, clock, list)


def add(log: Baselines, from_ms: int | None = None, source: str = "list", **dollars: str) -> str:
    return log.add_prices("gpt", dollars or {"input": "1"}, source=source, effective_from_ms=from_ms)


def inputs(log: Baselines, version: str | None = None) -> list[tuple[int, int | None, int | None]]:
    """Begin, end and price of input."""
    return [(p.from_ms, p.until_ms, p.nano("input")) for p in log.prices("gpt", version)]


def test_components_have_dates_of_their_own_and_a_period_has_what_holds_in_it(log: Baselines) -> None:
    add(log, TODAY - 5 * DAY_MS, input="0.30", output="1.20", training="3")
    add(log, TODAY + DAY_MS, input="0.20", cached_input="0.05")
    first, second = log.prices("gpt")
    assert (first.from_ms, first.until_ms, second.from_ms, second.until_ms) == (
        TODAY - 5 * DAY_MS,
        TODAY + DAY_MS,
        TODAY + DAY_MS,
        None,
    )
    assert {name: first.nano(name) for name in ("input", "cached_input", "output", "training")} == {
        "input": 300_000_000,
        "cached_input": None,
        "output": 1_200_000_000,
        "training": 3 * DOLLAR,
    }
    assert cost_nano(1_000, 400, 100, first) == 420_000, "an API that has no price for cached input has no discount"
    assert cost_nano(1_000, 400, 100, second) == 120_000 + 20_000 + 120_000
    price = second.components["cached_input"]
    assert (price.source, price.retrieved_at_ms, price.origin, price.correction) == ("list", TODAY, "operator", False)


def test_a_price_that_is_dated_back_fills_a_gap_and_changes_nothing_that_had_a_price(log: Baselines) -> None:
    add(log, TODAY - 10 * DAY_MS, input="2")
    with pytest.raises(
        Conflict, match=r"input of gpt had a price on 2024-10-01, .* `switchyard cost baselines correct`"
    ):
        add(log, TODAY - 3 * DAY_MS, input="1")
    with pytest.raises(Conflict, match=r"has a price from 2024-09-24 on \(\$2\); prices are not edited"):
        add(log, TODAY - 10 * DAY_MS, input="1")
    add(log, TODAY - 20 * DAY_MS, input="3", source="an old page")
    add(log, TODAY - 3 * DAY_MS, output="4")
    add(log, None, input="1")
    assert inputs(log) == [
        (TODAY - 20 * DAY_MS, TODAY - 10 * DAY_MS, 3 * DOLLAR),
        (TODAY - 10 * DAY_MS, TODAY - 3 * DAY_MS, 2 * DOLLAR),
        (TODAY - 3 * DAY_MS, TODAY, 2 * DOLLAR),
        (TODAY, None, DOLLAR),
    ]


def test_a_correction_is_a_line_of_its_own_and_an_older_version_says_what_it_said(log: Baselines) -> None:
    before = add(log, TODAY - 10 * DAY_MS, input="2", output="4")
    after = log.correct(
        "gpt", {"input": "1.5"}, source="the invoice", effective_from_ms=TODAY - 10 * DAY_MS, note="a typing error"
    )
    assert before != after == log.version()
    assert inputs(log, before) == [(TODAY - 10 * DAY_MS, None, 2 * DOLLAR)]
    assert inputs(log) == [(TODAY - 10 * DAY_MS, None, 1_500_000_000)]
    price = log.prices("gpt")[0].components["input"]
    assert (price.correction, price.note, price.source) == (True, "a typing error", "the invoice")
    log.correct("gpt", {"input": None}, source="it was withdrawn", effective_from_ms=TODAY - DAY_MS)
    assert [period.complete for period in log.prices("gpt")] == [True, False]
    assert inputs(log, after) == [(TODAY - 10 * DAY_MS, None, 1_500_000_000)]


def test_a_version_that_never_was_is_refused_with_the_newest(log: Baselines) -> None:
    assert log.version() == "p0"
    assert log.names() == []
    assert log.names("p0") == []
    version = add(log)
    assert version.startswith("p1-")
    for other in ("p1-00000000", "p2-00000000", "p1", "latest", version + "0"):
        with pytest.raises(NotFound, match=rf"price_version is '{other}'.*the newest is {version}"):
            log.prices("gpt", other)


def test_an_unknown_baseline_is_told_with_the_nearest(log: Baselines) -> None:
    with pytest.raises(NotFound, match=r"baseline is 'gpt-4o', and no price of it is known; known: none\."):
        log.prices("gpt-4o")
    for name in ("gpt-4o-mini", "gpt-4", "claude"):
        log.add_prices(name, {"input": "1"}, source="list")
    with pytest.raises(NotFound, match="did you mean gpt-4 or gpt-4o-mini"):
        log.info("gpt-4o")
    with pytest.raises(NotFound, match="to correct"):
        log.correct("gpt", {"input": "1"}, source="x", effective_from_ms=0)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda log: add(log, input="-1"), "input is '-1'; expected dollars"),
        (lambda log: add(log, output="0.0000000001"), "output is .* with up to 9 decimals"),
        (lambda log: add(log, thinking="1"), "component is 'thinking'; choose from input, cached_input"),
        (lambda log: add(log, source=" "), "source is empty; say where the figure is from"),
        (lambda log: add(log, source="a\nb"), "source has 3 characters; up to 500 that can be printed"),
        (lambda log: log.add_prices("gpt 4", {"input": "1"}, source="x"), "baseline is 'gpt 4'; a name has up to 200"),
        (lambda log: log.add_prices("gpt", {}, source="x"), "no price is given; give one of input"),
        (lambda log: log.say("gpt", Facts(), source="x"), "nothing is said"),
        (lambda log: log.say("gpt", Facts(status="dead"), source="x"), "status is 'dead'; choose from live, retiring"),
        (lambda log: log.say("gpt", Facts(status="retired"), source="x"), "ends_on is the day that goes with"),
        (lambda log: log.say("gpt", Facts(status="retiring", ends_at_ms=0), source="x"), "1970-01-01; .* is retired"),
        (lambda log: log.say("gpt", Facts(status="live", ends_at_ms=0), source="x"), "ends_on is the day"),
        (lambda log: log.say("gpt", Facts(claim=("-5", "x")), source="x"), "claim is '-5'"),
    ],
)
def test_what_is_no_price_or_fact_is_refused_and_leaves_nothing(
    log: Baselines, write: Callable[[Baselines], object], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        write(log)
    assert log.version() == "p0"


def test_the_last_word_on_a_baseline_counts_and_an_older_version_has_the_one_before(log: Baselines) -> None:
    live = log.say("gpt", Facts(status="live", tokenizer="o200k_base", provider="openai"), source="a page")
    ends = log.say(
        "gpt", Facts(status="retiring", ends_at_ms=TODAY + 30 * DAY_MS, substitute="gpt-5-mini"), source="a notice"
    )
    log.say("gpt", Facts(claim=("25000", "1M requests")), source="a guide", note="fits no list price")
    info = log.info("gpt")
    assert (info.state, info.ends_at_ms, info.substitute) == ("retiring", TODAY + 30 * DAY_MS, "gpt-5-mini")
    assert (info.tokenizer, info.provider) == ("o200k_base", "openai")
    assert info.claim is not None
    assert (info.claim.nano_per_month, info.claim.workload) == (25_000 * DOLLAR, "1M requests")
    assert info.facts["status"].source == "a notice"
    assert log.info("gpt", at_ms=TODAY + 30 * DAY_MS).state == "retired"
    assert (log.info("gpt", live).state, log.info("gpt", live).substitute) == ("live", None)
    assert log.info("gpt", ends).claim is None
    log.say("gpt", Facts(status="live", substitute=""), source="they changed their minds")
    assert [(one.name, one.state, one.ends_at_ms, one.substitute) for one in log.infos()] == [
        ("gpt", "live", None, None)
    ]


@pytest.mark.parametrize("statement", ["DELETE FROM baseline_log", "UPDATE baseline_log SET nano = 1"])
def test_the_database_refuses_to_rewrite_the_log(registry: Registry, log: Baselines, statement: str) -> None:
    add(log)
    with pytest.raises(DBAPIError, match="baseline_log is append-only"), registry.db.write() as session:
        session.execute(text(statement))
    assert log.faults() == []


def test_a_line_that_was_changed_behind_the_triggers_is_found(registry: Registry, log: Baselines) -> None:
    for _ in range(3):
        log.say("gpt", Facts(tokenizer="x"), source="x")
    sqlite = registry.db.engine.dialect.name == "sqlite"
    with registry.db.write() as session:
        session.execute(
            text(
                "DROP TRIGGER baseline_log_no_update"
                if sqlite
                else "DROP TRIGGER baseline_log_append_only ON baseline_log"
            )
        )
        session.execute(text("UPDATE baseline_log SET note = 'x' WHERE seq = 2"))
    assert log.faults() == ["line 2 of the price log is not what was written: its digest is another one"]


def test_writers_at_once_leave_one_chain(log: Baselines) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(lambda n: log.add_prices(f"m{n}", {"input": "1"}, source="x"), range(8)))
    assert len(set(versions)) == 8
    assert log.faults() == []
