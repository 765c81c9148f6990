"""Twelve poisoned data sets: each is refused or warned of by name before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bars.support.poison import CLEAN, POISONS, Poison, Verdict, caught, count, prepared
from tests.support.tiny_base import write_tiny_base


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    return caught(tmp_path_factory.mktemp("poison"))


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.name)
def test_a_poisoned_set_is_caught_by_name(verdicts: dict[str, Verdict], poison: Poison) -> None:
    verdict = verdicts[poison.name]
    assert verdict.how != "missed", verdict.said


def test_all_twelve_are_caught(verdicts: dict[str, Verdict]) -> None:
    assert (len(verdicts), count(verdicts)) == (12, 12)


def test_a_clean_set_is_neither_refused_nor_warned_of(tmp_path: Path) -> None:
    assert prepared(CLEAN, tmp_path / "clean", write_tiny_base(tmp_path / "base")) == Verdict("missed", "")
