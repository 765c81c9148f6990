"""`switchyard cost baselines` and `radar`: what people and scripts are shown, and what is refused."""

from __future__ import annotations

import re

import pytest

from registry.service import Registry
from tests.support.adapter_folders import TinyBase
from tests.support.cli_runner import Run, done, run

__all__ = ["done", "run"]

BASELINES = ("cost", "baselines")
ADD = (*BASELINES, "add-price", "vendor-model")


def test_the_list_has_todays_prices_their_status_and_the_price_version(done: Run) -> None:
    shown = done(*BASELINES, "list").out
    assert re.search(r"ft:gpt-4o-mini +retir\w+ +2027-01-14 +gpt-5.4-mini +0.3 +0.15 +1.2 +3 +2026-11-29", shown)
    document = done(*BASELINES, "list", "--json").document
    assert f"price version {document['price_version']}" in shown
    mini = next(one for one in document["baselines"] if one["name"] == "ft:gpt-4o-mini")
    assert (mini["today"]["input"], mini["today"]["training"]) == ("0.3", "3")


def test_a_price_is_added_corrected_and_shown_with_what_it_was(done: Run) -> None:
    added = done(*ADD, "--input", "0.20", "--output", "0.80", "--from", "2026-01-01", "--source", "contract 17")
    assert added.out.startswith("vendor-model: input $0.20, output $0.80 per million tokens from 2026-01-01 on;")
    before = re.search(r"price version (p\S+)", added.out)
    assert before is not None
    wrong = ("--from", "2026-01-01", "--source", "the invoice", "--note", "a typing error")
    corrected = done(*BASELINES, "correct", "vendor-model", "--input", "0.25", "--output", "none", *wrong)
    assert "input $0.25, output none per million tokens from 2026-01-01 on, corrected" in corrected.out
    now = done(*BASELINES, "show", "vendor-model").out
    assert re.search(r"input +2026-01-01 +– +0.25 +\d+ +corrected: the invoice; a typing error", now)
    assert "contract 17" not in now
    then = done(*BASELINES, "show", "vendor-model", "--price-version", before[1], "--json").document
    assert [(price["component"], price["dollars"]) for price in then["prices"]] == [("input", "0.2"), ("output", "0.8")]


def test_the_guides_figure_for_gpt_4_is_a_claim_that_can_be_changed_and_no_price(done: Run) -> None:
    shown = done(*BASELINES, "show", "gpt-4").out
    assert "claimed, and no price: $25000 a month for 1,000,000 requests" in shown
    assert "fits no list price: $45,000" in shown
    done(*BASELINES, "status", "gpt-4", "--claim", "20000", "--workload", "1M requests", "--source", "somebody else")
    claim = done(*BASELINES, "show", "gpt-4", "--json").document["claim"]
    assert (claim["dollars_a_month"], claim["source"]) == ("20000", "somebody else")


def test_a_status_is_said_and_a_baseline_that_nobody_looked_up_is_stale(
    done: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ("--state", "retiring", "--ends-on", "2100-01-01", "--substitute", "gpt-5.4", "--source", "their page")
    assert done(*BASELINES, "status", "vendor-model", *said).out.startswith("vendor-model: noted; price version p")
    assert "vendor-model: retiring, shut down on 2100-01-01" in done(*BASELINES, "show", "vendor-model").out
    done(*ADD, "--input", "1", "--source", "x", "--retrieved", "2026-01-01")
    assert "checked 2026-01-01, stale" in done(*BASELINES, "show", "vendor-model").out
    monkeypatch.setenv("SWITCHYARD_PRICE_STALE_DAYS", "36500")
    assert "stale" not in done(*BASELINES, "show", "vendor-model").out


def test_prices_are_imported_once_and_looked_up_again_without_a_name(done: Run) -> None:
    assert "nothing was imported before; name a model" in done(*BASELINES, "import").out
    first = done(*BASELINES, "import", "anthropic/claude-opus-5", "--json").document
    assert first["snapshot"].startswith("genai-prices ")
    assert first["baselines"]["anthropic/claude-opus-5"]["added"] > 3
    again = done(*BASELINES, "import", "--json").document
    assert again["price_version"] == first["price_version"]
    assert again["baselines"]["anthropic/claude-opus-5"]["added"] == 0
    assert "cache_write" in done(*BASELINES, "import").out, "what was not taken is said"


def test_figures_look_up_a_baseline_that_nobody_has_added_and_warn_of_a_stale_one(done: Run) -> None:
    asked = ("cost", "scenario", "--baseline", "anthropic/claude-opus-5", "--baseline", "ft:gpt-4o-mini", "--json")
    first = done(*asked)
    assert "prices of anthropic/claude-opus-5 were taken out of genai-prices" in first.err
    assert first.document["baselines"]["anthropic/claude-opus-5"]["monthly_usd"] is not None
    again = done(*asked)
    assert "taken out of" not in again.err
    assert again.document == first.document
    done(*ADD, "--input", "1", "--output", "1", "--source", "x", "--retrieved", "2026-01-01")
    warned = done("cost", "scenario", "--baseline", "vendor-model").err
    assert "warning: prices of vendor-model were last looked up on 2026-01-01" in warned


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*ADD, "--input", "-1", "--source", "x"), "--input is '-1'; expected dollars such as 0.30"),
        ((*ADD, "--cached-input", "0.0000000001", "--source", "x"), "--cached-input is '0.0000000001'"),
        ((*ADD, "--source", "x"), "no price is given; give one of"),
        ((*ADD, "--input", "1", "--source", " "), "--source is empty"),
        ((*ADD, "--input", "1", "--source", "x", "--from", "May"), "--from is 'May'; expected YYYY-MM-DD"),
        (
            (*BASELINES, "add-price", "gpt-4", "--input", "1", "--source", "x", "--from", "2026-01-01"),
            "input of gpt-4 had a price on 2026-01-01",
        ),
        ((*BASELINES, "show", "gpt-4-trubo"), "did you mean gpt-4-turbo"),
        ((*BASELINES, "list", "--price-version", "p1"), "--price-version is 'p1', which this price log never had"),
        ((*BASELINES, "import", "gpt-4oo"), "did you mean"),
        ((*BASELINES, "status", "gpt-4", "--source", "x"), "nothing is said"),
        ((*BASELINES, "status", "gpt-4", "--state", "dead", "--source", "x"), "'dead'; choose from live, retiring"),
        (
            (*BASELINES, "status", "gpt-4", "--state", "retired", "--ends-on", "2100-01-01", "--source", "x"),
            "--ends-on is 2100-01-01; what ends on that day is retiring",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(run: Run, arguments: tuple[str, ...], said: str) -> None:
    refused = run(*arguments)
    assert (refused.status, refused.out) == (1, "")
    assert said in refused.err
    assert len(refused.err.splitlines()) == 1


def test_the_radar_lists_what_ends_with_the_way_out(done: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    with Registry.open() as registry:
        registry.bases.register("tiny", TinyBase().write(tmp_path_factory.mktemp("base")))
        registry.tenants.create("acme")
        registry.model_names.map("acme", "vendor-model-2025-01-01", "tiny")
    assert done("cost", "radar", "--tenant", "acme").out == "nothing that is known of ends within 60 days\n"
    done(
        *BASELINES, "status", "vendor-model", "--state", "retiring", "--ends-on", "2100-01-01", "--source", "their page"
    )
    assert "vendor-model" not in done("cost", "radar").out
    far = ("cost", "radar", "--days", "36500")
    shown = done(*far).out
    assert re.search(r"2100-01-01 +\d+ +acme +vendor-model-2025-01-01", shown)
    assert re.search(r"2100-01-01 +\d+ +baseline +vendor-model", shown)
    (name,) = done(*far, "--tenant", "acme", "--json").document
    assert (name["served_by"], name["source"], name["experiments"]) == ("tiny", "their page", [])
    assert name["exit"] == "send what still asks the vendor here, where tiny answers under this name"
