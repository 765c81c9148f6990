"""The parts of the bar `experiments` that simulate, with few runs: nothing of what they promise is refuted."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.bars.support.experiments import false_positives, power, relatives, same_arms


@pytest.mark.parametrize(
    "part", [false_positives, power, relatives, same_arms], ids=lambda part: part.__name__.split(".")[-1]
)
def test_what_statistics_promise_is_not_refuted_by_few_runs(part: ModuleType, tmp_path: Path) -> None:
    found = part.measure(tmp_path, 0.0)
    assert found.bars
    assert all(found.bars.values()), found
