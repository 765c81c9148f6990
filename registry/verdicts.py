"""Words for what figures say: the same of evaluations, of experiments and of what is asked for before a version serves.

Nothing else of ours is imported here: the statistics of experiments speak these words too.
"""

from __future__ import annotations

from typing import Literal, cast

Word = Literal["better", "worse", "non_inferior", "undecided", "too_few_units"]
"""Of a difference between two versions. `non_inferior`: not worse by more than its margin; `undecided`: its interval
has room for both; `too_few_units`: there is no interval yet.
"""
GateWord = Literal["passed", "failed", "undecided", "measured"]
"""Of a gate. `measured`: there was none to pass."""
UNTIL_NOW = {"cannot tell": "undecided"}
"""What certificates were stored with that are older than these words."""


def gate_word(stored: str) -> GateWord:
    """The word of a certificate, however old it is."""
    return cast("GateWord", UNTIL_NOW.get(stored, stored))


def spoken(word: str) -> str:
    """For people: `too few units`."""
    return "non-inferior" if word == "non_inferior" else word.replace("_", " ")
