"""`switchyard tariff` and `switchyard limits`: what they show to people and scripts, and what they refuse."""

from __future__ import annotations

from pathlib import Path

from registry.service import Registry
from tests.cli_runner import Run, done, run
from tests.registry.adapter_folders import TinyBase

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
    rows = done("tariff", "show", "base:tiny").out.splitlines()
    assert len(rows) == 3
    assert ("0.03" in rows[1], "the price list" in rows[2]) == (True, True)


def test_limits_are_set_listed_and_cleared(done: Run, tmp_path: Path) -> None:
    assert done("limits", "list").out.startswith("no limits; set one")
    fill(tmp_path)
    done("limits", "set", "tenant:acme", "--requests-per-minute", "60", "--daily-dollars", "2.50")
    done("limits", "set", "tenant:acme", "--concurrency", "4", "--warn-at", "80")
    (info,) = done("limits", "list", "--json").document
    assert (info["requests_per_minute"], info["daily_nano"], info["concurrency"]) == (60, 2_500_000_000, 4)
    row = done("limits", "list").out.splitlines()[1].split()
    assert row == ["tenant:acme", "60", "–", "4", "2.5", "–", "–", "–", "80"]
    assert done("limits", "clear", "tenant:acme").out == "tenant:acme has no limits any more\n"


def test_a_warning_without_a_budget_is_refused_with_the_remedy(run: Run, tmp_path: Path) -> None:
    fill(tmp_path)
    alone = run("limits", "set", "tenant:acme", "--concurrency", "4", "--warn-at", "80")
    assert (alone.status, "no budget to warn of; set one with it" in alone.err) == (1, True)
    wild = run("limits", "set", "tenant:acme", "--daily-dollars", "5", "--warn-at", "101")
    assert (wild.status, "warn_percent is 101" in wild.err) == (1, True)


def test_what_cannot_be_meant_is_refused_in_one_sentence(run: Run) -> None:
    nothing, money = run("limits", "set", "tenant:acme"), run("limits", "set", "tenant:acme", "--daily-dollars", "much")
    scope, day = run("tariff", "add", "acme", *PRICE), run("tariff", "add", "base:tiny", *PRICE, "--from", "soon")
    assert [outcome.status for outcome in (nothing, money, scope, day)] == [1, 1, 1, 1]
    assert "no limit is named" in nothing.err
    assert "daily_dollars is 'much'" in money.err
    assert "scope is 'acme'" in scope.err
    assert "date is 'soon'" in day.err
