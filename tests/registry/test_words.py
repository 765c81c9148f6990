"""Sizes are said alike by commands, events and pages."""

from __future__ import annotations

import pytest

from dashboard.components import figures
from registry.words import size


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1 kB"),
        (3_400, "3.4 kB"),
        (13_421_772, "13.4 MB"),
        (999_999, "1 MB"),
        (141_900_000_000, "142 GB"),
        (2_350_000_000, "2.35 GB"),
        (2**50, "1,130 TB"),
    ],
)
def test_a_size_has_three_digits_and_steps_of_a_thousand_in_a_command_and_on_a_page(count: int, said: str) -> None:
    assert size(count) == figures.size(count) == said
