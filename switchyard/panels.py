"""Two texts side by side, where the terminal is wide enough, else one below the other. Only this and `console.py` may
use rich.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any

from switchyard.console import visible_lines

LEAST_WIDTH = 100
"""Columns from which on two texts stand side by side."""
MOST_QUESTION_CHARACTERS = 2_000
"""From its end, where what is asked stands."""


@dataclass(frozen=True, slots=True)
class PairView:
    """What a voter sees: nothing says whose a text is."""

    head: str
    question: str
    left: str
    right: str
    reference: str | None
    hint: str


def show_pair(view: PairView) -> None:
    """On stderr, as all that is for people alone; a terminal is cleared before."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if sys.stderr.isatty():
        console.clear()
    console.print(_drawn(view, console.width))


def picture_of(view: PairView, width: int) -> str:
    """The same as an SVG of a terminal that is so wide."""
    import io

    from rich.console import Console

    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, highlight=False, markup=False)
    console.print(_drawn(view, width))
    picture = console.export_svg(title="switchyard experiments compare A B --human")
    return re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)  # no picture of ours fetches fonts


def _drawn(view: PairView, width: int) -> Any:
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table

    question = view.question
    if len(question) > MOST_QUESTION_CHARACTERS:
        question = f"…{question[-MOST_QUESTION_CHARACTERS:]}"
    parts = [Panel(_text(question), title=_text(view.head), title_align="left", border_style="dim")]
    if view.reference is not None:
        parts.append(Panel(_text(view.reference), title="a right answer", title_align="left", border_style="dim"))
    left, right = (
        Panel(_text(text or " "), title=title, border_style=style)
        for title, text, style in (("left", view.left, "cyan"), ("right", view.right, "magenta"))
    )
    if width < LEAST_WIDTH:
        return Group(*parts, left, right, _text(view.hint))
    both = Table.grid(expand=True)
    both.add_column(ratio=1)
    both.add_column(ratio=1)
    both.add_row(left, right)
    return Group(*parts, both, _text(view.hint))


def _text(text: str) -> Any:
    from rich.text import Text

    return Text(visible_lines(text))
