"""`switchyard tariff` and `switchyard limits`: what they show to people and scripts, and what they refuse."""

from __future__ import annotations

from pathlib import Path

from registry.db import now_ms
from registry.service import Registry
from tests.support.adapter_folders import TinyBase
from tests.support.cli_runner import Run, done, run
from tests.support.usage_rows import usage_row

__all__ = ["done", "run"]

PRICE = ("--input", "0.30", "--cached-input", "0.03", "--output", "1.20", "--source", "the price list")


def fill(tmp_path: Path) -> None:
    with Registry.open() as registry:
        registry.bases.register("tiny", TinyBase().write(tmp_path / "base"))
        registry.tenants.create("acme")


def test_prices_are_added_listed_and_shown_with_their_dates(done: Run, tmp_path: Path) -> None:
    assert done("tariff", "list").out.startswith("no prices; add one")
    fill(tmp_path)
    assert "base:tiny: $0.30 in, $1.20 out" in done("tariff", "add", "base:tiny", *PRICE, "--from", "2026-01-01").out
    later = done("tariff", "add", "base:tiny", *PRICE, "--from", "2100-01-01", "--json").document
    assert later["effective_from_ms"] == 4_102_444_800_000
    (listed,) = done("tariff", "list", "--json").document
    assert listed["effective_from_ms"] < later["effective_from_ms"]
    done("tariff", "add", "base:tiny", *PRICE, "--from", "2099-12-31")
    rows = done("tariff", "show", "base:tiny").out.splitlines()
    assert ("0.03" in rows[1], "the price list" in rows[2]) == (True, True)
    assert [state in row for state, row in zip(("in force", "replaced", "to come"), rows[1:], strict=True)] == [
        True
    ] * 3


def test_a_price_says_which_of_those_to_come_it_replaces(done: Run, tmp_path: Path) -> None:
    fill(tmp_path)
    for day in ("2100-01-01", "2101-01-01", "2102-01-01"):
        assert "replaces" not in done("tariff", "add", "base:tiny", *PRICE, "--from", day).out
    said = done("tariff", "add", "base:tiny", *PRICE, "--from", "2100-06-01").out.splitlines()[1:]
    assert [line.startswith("it replaces the price that was to begin 210") for line in said] == [True, True]
    assert "$0.3 in, $1.2 out (the price list)" in said[0]
    document = done("tariff", "add", "base:tiny", *PRICE, "--json").document
    assert [one["state"] for one in document["replaces"]] == ["replaced"] * 2


def test_setting_limits_says_what_is_in_force_and_what_has_no_price(done: Run, tmp_path: Path) -> None:
    fill(tmp_path)
    first = done("limits", "set", "tenant:acme", "--requests-per-minute", "60")
    assert (first.out, first.err) == ("limits of tenant:acme: 60 requests per minute\n", "")
    second = done("limits", "set", "tenant:acme", "--daily-dollars", "2.50", "--warn-at", "80")
    assert second.out == "limits of tenant:acme: 60 requests per minute, $2.5 a day, a warning at 80 %\n"
    assert "warning: no price is in force for tiny" in second.err
    done("tariff", "add", "base:tiny", *PRICE)
    assert done("limits", "set", "tenant:acme", "--daily-dollars", "3").err == ""


def test_the_warning_goes_with_the_last_budget_and_that_is_said(done: Run, tmp_path: Path) -> None:
    fill(tmp_path)
    done("limits", "set", "tenant:acme", "--daily-tokens", "9", "--monthly-tokens", "99", "--warn-at", "80")
    assert "warn-at" not in done("limits", "clear", "tenant:acme", "daily-tokens").out
    done("limits", "set", "tenant:acme", "--concurrency", "3")
    said = done("limits", "clear", "tenant:acme", "monthly-tokens").out
    assert "(and no warn-at, because no budget is left to warn of)" in said
    assert said.endswith("what stays: 3 requests at once\n")
    done("limits", "set", "tenant:acme", "--daily-tokens", "9", "--warn-at", "80")
    assert "warn-at" not in done("limits", "clear", "tenant:acme").out


def test_limits_are_set_listed_and_cleared(done: Run, tmp_path: Path) -> None:
    assert done("limits", "list").out.startswith("no limits; set one")
    fill(tmp_path)
    done("limits", "set", "tenant:acme", "--requests-per-minute", "60", "--daily-dollars", "2.50")
    done("limits", "set", "tenant:acme", "--concurrency", "4", "--warn-at", "80")
    (info,) = done("limits", "list", "--json").document
    assert (info["requests_per_minute"], info["daily_nano"], info["concurrency"]) == (60, 2_500_000_000, 4)
    row = done("limits", "list").out.splitlines()[1].split()
    assert row == ["tenant:acme", "60", "–", "4", "2.5", "–", "–", "–", "80"]
    assert "has no concurrency any more" in done("limits", "clear", "tenant:acme", "concurrency").out
    left = done("limits", "clear", "tenant:acme", "daily-dollars", "--json").document
    assert (left["requests_per_minute"], left["concurrency"], left["daily_nano"]) == (60, None, None)
    assert left["warn_percent"] is None, "there is no budget left to warn of"
    assert done("limits", "clear", "tenant:acme").out == "tenant:acme has no limits any more\n"


def test_budgets_are_shown_with_what_is_spent_of_them(done: Run, tmp_path: Path) -> None:
    assert done("limits", "budgets").out.startswith("no budgets; set one")
    fill(tmp_path)
    done("limits", "set", "tenant:acme", "--daily-dollars", "2.50", "--monthly-tokens", "60", "--daily-tokens", "0")
    with Registry.open() as registry:
        registry.ledger.record([usage_row("a", started_at_ms=now_ms(), cost_nano=1_000_000_000)])
    header, dollars, none, tokens = (row.split() for row in done("limits", "budgets").out.splitlines())
    assert header[:6] == ["SCOPE", "WINDOW", "UNIT", "BUDGET", "SPENT", "LEFT"]
    assert dollars[:7] == ["tenant:acme", "daily", "dollars", "2.5", "1", "1.5", "40"]
    assert none[:7] == ["tenant:acme", "daily", "tokens", "0", "15", "0", "–"]
    assert tokens[:7] == ["tenant:acme", "monthly", "tokens", "60", "15", "45", "25"]
    assert [line["spent"] for line in done("limits", "budgets", "--json").document] == ["1", "15", "15"]


def test_a_warning_without_a_budget_is_refused_with_the_remedy(run: Run, tmp_path: Path) -> None:
    fill(tmp_path)
    alone = run("limits", "set", "tenant:acme", "--concurrency", "4", "--warn-at", "80")
    assert (alone.status, "no budget to warn of; set one with it" in alone.err) == (1, True)
    wild = run("limits", "set", "tenant:acme", "--daily-dollars", "5", "--warn-at", "101")
    assert (wild.status, "--warn-at is 101; expected 1 to 100" in wild.err) == (1, True)


def test_what_cannot_be_meant_is_refused_in_one_sentence(run: Run) -> None:
    nothing, money = run("limits", "set", "tenant:acme"), run("limits", "set", "tenant:acme", "--daily-dollars", "much")
    unknown = run("limits", "clear", "tenant:acme", "daily-euros")
    assert (unknown.status, "'daily-euros' is no limit; choose from" in unknown.err) == (1, True)
    nobody = run("tariff", "show", "tenant:initech")
    assert (nobody.status, "there is no tenant 'initech'" in nobody.err) == (1, True)
    scope, day = run("tariff", "add", "acme", *PRICE), run("tariff", "add", "base:tiny", *PRICE, "--from", "soon")
    assert [outcome.status for outcome in (nothing, money, scope, day)] == [1, 1, 1, 1]
    assert (
        "no limit is named; choose from --requests-per-minute, --tokens-per-minute, --concurrency, --daily-dollars"
        in nothing.err
    )
    assert "--daily-dollars is 'much'" in money.err
    assert "scope is 'acme'" in scope.err
    assert "--from is 'soon'" in day.err
