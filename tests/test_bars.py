"""Six bars at a fiftieth of their scale keep what no clock decides; `make bars` runs all of them in full."""

from __future__ import annotations

import pytest

from tests.bars import bar, measure, names

FIFTIETH = 0.02


@pytest.mark.parametrize("name", ["abuse", "budget", "crash", "fidelity", "responses_state", "swap"])
def test_what_a_bar_promises_holds_at_a_fiftieth_of_its_scale(name: str) -> None:
    result = measure(name, FIFTIETH)
    assert result["bars"]
    assert all(result["bars"].values()), result


@pytest.mark.parametrize("name", names())
def test_a_bar_says_what_it_measures(name: str) -> None:
    assert bar(name).__doc__.splitlines()[0].endswith(".")
    assert callable(bar(name).run)
