"""`switchyard cost scenario`: what it says, writes and draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.service import Registry
from tests.support.cli_runner import Run, done, run

__all__ = ["done", "run"]


@pytest.fixture
def priced(done: Run) -> Run:
    """Two APIs have prices."""
    with Registry.open() as registry:
        for name, dollars in (
            ("dear-api", {"input": "30", "output": "60"}),
            ("cheap-api", {"input": "0.30", "output": "1.20", "training": "3"}),
        ):
            registry.baselines.add_prices(name, dollars, source="a list", effective_from_ms=0)
    return done


BOTH = ("--baseline", "dear-api", "--baseline", "cheap-api")


def test_the_first_line_says_what_to_do_and_the_table_has_every_api_and_the_gpu(priced: Run) -> None:
    said = priced("cost", "scenario", *BOTH).out.splitlines()
    assert said[0].startswith("Stay on the API: cheap-api costs $750 a month for 1,000,000 requests, one GPU $2,000;")
    rows = [line.split()[:3] for line in said[2:6]]
    assert rows[1:] == [["cheap-api", "$750", "$50"], ["dear-api", "$45,000", "–"], ["self-hosted", "$2,000", "$100"]]
    assert "prices: p" in said[-1]


def test_without_options_it_is_the_guides_case_at_the_prices_that_come_with_the_package(done: Run) -> None:
    document = done("cost", "scenario", "--at", "2026-11-29", "--json").document
    assert document["baselines"]["ft:gpt-4o-mini"] == {"monthly_usd": 750, "training_usd": 50, "status": "retiring"}
    assert (document["baselines"]["gpt-4"]["monthly_usd"], document["self_hosted"]) == (
        45_000,
        {"monthly_usd": 2000},
    )
    assert (document["break_even_requests"], document["verdict"]) == (2_666_667, "stay on the API")
    said = done("cost", "scenario", "--at", "2026-11-29").out
    assert "says $25,000 for gpt-4, which fits no list price: its list price comes to $45,000" in said
    assert "97%" in said
    assert "92%" in said


def test_options_change_the_case_and_the_document_has_the_same(priced: Run) -> None:
    document = priced("cost", "scenario", *BOTH, "--requests", "4000000", "--gpu-hour", "1.49", "--json").document
    assert document == {
        "baselines": {
            "dear-api": {"monthly_usd": 180000, "training_usd": None, "status": None},
            "cheap-api": {"monthly_usd": 3000, "training_usd": 50, "status": None},
        },
        "self_hosted": {"monthly_usd": 1087.70},
        "break_even_requests": 1_450_267,
        "verdict": "self-host",
    }


def test_an_earlier_price_version_and_day_answer_as_they_did(priced: Run) -> None:
    with Registry.open() as registry:
        before = registry.baselines.version()
        registry.baselines.add_prices("late-api", {"input": "1", "output": "1"}, source="a list")
    unlisted = priced("cost", "scenario", "--baseline", "late-api", "--at", "2020-01-01").out
    assert "note: late-api is unlisted" in unlisted
    assert "prices: " + before in priced("cost", "scenario", *BOTH, "--price-version", before).out


def test_what_makes_no_sense_is_refused_by_the_name_of_its_option(priced: Run, run: Run) -> None:
    refused = run("cost", "scenario", *BOTH, "--cached-share", "20")
    assert (refused.status, refused.err) == (
        1,
        "error: --cached-share is '20'; expected a share from 0 to 1 such as 0.25, with up to 12 decimals\n",
    )
    both = run("cost", "scenario", *BOTH, "--gpu-hour", "1", "--gpu-month", "1")
    assert both.err == "error: --gpu-hour and --gpu-month are both given; say one of them\n"
    assert "'cheap-apl'" in run("cost", "scenario", "--baseline", "cheap-apl").err
    assert "--plot is 'x.pdf'" in run("cost", "scenario", *BOTH, "--plot", "x.pdf").err


@pytest.mark.parametrize("more", [(), ("--requests-per-gpu", "1000000")])
def test_the_picture_is_drawn_as_svg_with_break_evens_and_as_png(
    priced: Run, tmp_path: Path, more: tuple[str, ...]
) -> None:
    priced("cost", "scenario", *BOTH, *more, "--plot", tmp_path / "s.svg")
    drawn = (tmp_path / "s.svg").read_text()
    assert all(name in drawn for name in ("cheap-api", "dear-api", "self-hosted"))
    assert ("2.67M" in drawn) == (not more)
    told = priced("cost", "scenario", *BOTH, *more, "--plot", tmp_path / "s.png").err
    assert f"the picture is in {tmp_path / 's.png'}" in told
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_written_is_refused_by_its_name(priced: Run, run: Run, tmp_path: Path) -> None:
    (folder := tmp_path / "s.svg").mkdir()
    refused = run("cost", "scenario", *BOTH, "--plot", folder)
    assert refused.status == 1
    assert f"--plot is {str(folder)!r}, which cannot be written: Is a directory" in refused.err
