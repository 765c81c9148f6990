"""Votes of whoever is at the keyboard: two answers without names, one key each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from registry.votes.ballots import Preferred, winner_of
from registry.votes.store import Winner
from switchyard.keyboard import Keyboard
from switchyard.panels import PairView, show_pair
from trainer.pairwise.pairs import Pair
from trainer.pairwise.run import question_of

LEFT, RIGHT, TIE, SKIP, UNDO, QUIT = "left", "right", "tie", "skip", "undo", "quit"
KEYS = {
    **dict.fromkeys(("l", "1", "←", LEFT), LEFT),
    **dict.fromkeys(("r", "2", "→", RIGHT), RIGHT),
    **dict.fromkeys(("t", "=", "↓", TIE), TIE),
    **dict.fromkeys(("s", SKIP), SKIP),
    **dict.fromkeys(("u", "⌫", UNDO), UNDO),
    **dict.fromkeys(("q", QUIT), QUIT),
}
HINT = "← l left is better   → r right   ↓ t tie   s skip   u undo   q quit"


@dataclass(frozen=True, slots=True)
class Booth:
    """Pairs, those of them that the voter has voted on before, and what becomes of votes."""

    voter: str
    pairs: tuple[Pair, ...]
    done: frozenset[str]
    cast: Callable[[Pair, Winner], object]
    take_back: Callable[[Pair], object]
    enough: Callable[[], bool]


def take_votes(booth: Booth) -> None:
    """Show pair after pair, until there are no more, it is decided, or the voter has enough. A pair that is skipped
    comes again the next time.
    """
    waiting = list({pair.key: pair for pair in booth.pairs if pair.key not in booth.done}.values())
    voted: list[int] = []
    at = 0
    with Keyboard() as keyboard:
        while at < len(waiting) and not booth.enough():
            pair = waiting[at]
            show_pair(_view(booth, pair, len(booth.done) + len(voted) + 1))
            said = _said(keyboard)
            if said == QUIT:
                return
            if said == SKIP:
                at += 1
            elif said == UNDO:
                if voted:
                    at = voted.pop()
                    booth.take_back(waiting[at])
            else:
                booth.cast(pair, winner_of(cast("Preferred", said), pair.left))
                voted.append(at)
                at += 1


def _said(keyboard: Keyboard) -> str:
    """The next key that means something; the end of the input is the end."""
    while (key := keyboard.read()) is not None:
        if key in KEYS:
            return KEYS[key]
    return QUIT


def _view(booth: Booth, pair: Pair, number: int) -> PairView:
    head = f"{number} of {len({one.key for one in booth.pairs})}, {booth.voter}"
    return PairView(head, question_of(pair.row), pair.text(pair.left), pair.text(pair.right), pair.row.reference, HINT)
