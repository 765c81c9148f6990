"""Two answers on a terminal: whole, without names, and nothing in them is obeyed."""

from __future__ import annotations

import re

import pytest

from switchyard.panels import LEAST_WIDTH, PairView, picture_of, show_pair

VIEW = PairView("1 of 2, ann", "user: why?", "[red]left[/red] :smile:", "\x1b[2Jright\nsecond line", "because", "keys")


@pytest.mark.parametrize("columns", [LEAST_WIDTH, LEAST_WIDTH - 1, 40])
def test_answers_are_shown_as_they_are_and_obeyed_never(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    show_pair(VIEW)
    shown = capsys.readouterr()
    assert shown.out == "", "what is for people alone is on stderr"
    assert "\x1b" not in shown.err
    for text in ("[red]left[/red] :smile:", r"\x1b[2Jright", "second line", "because", "1 of 2, ann", "user: why?"):
        assert text in shown.err
    beside = any("left" in line and "right" in line and "╭" in line for line in shown.err.splitlines())
    assert beside is (columns >= LEAST_WIDTH)


def test_of_a_long_question_the_end_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_pair(PairView("1 of 1, ann", f"start {'word ' * 2_000}end", "a", "b", None, "keys"))
    shown = capsys.readouterr().err
    assert "end" in shown
    assert "start" not in shown


def test_a_picture_of_it_fetches_nothing() -> None:
    picture = picture_of(VIEW, 110)
    assert picture.startswith("<svg")
    assert re.findall(r"(?:url\(|href=)[\"']?https?://", picture) == []
