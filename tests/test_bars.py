"""The benchmarks at a twentieth of their scale: they run, and keep every promise that no clock decides."""

from __future__ import annotations

import pytest

from tests.bars import measure, shrinking

TWENTIETH = 0.05


@pytest.mark.parametrize("name", shrinking())
def test_what_a_bar_promises_holds_at_a_twentieth_of_its_scale(name: str) -> None:
    result = measure(name, TWENTIETH)
    assert all(result["bars"].values()), result
