"""The parts of the bar `experiments` that simulate, with few runs: nothing of what they promise is refuted."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.bars.support.experiments import false_positives, power, relatives, same_arms
from tests.bars.support.experiments.figure import looks
from tests.live.installation import ROOT

PAGE = ROOT / "docs" / "statistics.md"
MEASURED = ROOT / "loadtest" / "results" / "experiments.json"


@pytest.mark.parametrize(
    "part", [false_positives, power, relatives, same_arms], ids=lambda part: part.__name__.split(".")[-1]
)
def test_what_statistics_promise_is_not_refuted_by_few_runs(part: ModuleType, tmp_path: Path) -> None:
    found = part.measure(tmp_path, 0.0)
    assert found.bars
    assert all(found.bars.values()), found


def test_the_picture_of_the_page_shows_what_the_page_says_of_it() -> None:
    units, estimate, fixed, sequence = looks().T
    wrong = int((np.abs(estimate) > fixed).sum())
    assert not (np.abs(estimate) > sequence).any()
    assert f"leaves out zero\nat {wrong} of {len(units)} looks, the sequence at none" in PAGE.read_text()


def test_the_table_of_the_page_is_what_was_measured_in_full() -> None:
    result = json.loads(MEASURED.read_text())
    rows = [line for line in PAGE.read_text().splitlines() if line.count("|") == 5][2:]
    found = [
        f"{row['shape']} | {row['pattern']} | {percent(row['naive_any'])} | {percent(row['naive_last'])} | "
        f"{percent(row['ours'])} ({percent(row['upper'])}) | {percent(row['coverage'])}"
        for row in result["detail"]["false_positives"]
    ]
    assert result["scale"] == 1
    assert sorted(rows) == sorted(found)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
