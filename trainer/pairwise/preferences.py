"""Pairs that somebody has judged, as rows for DPO: the better answer is `chosen`, the other `rejected`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.votes.store import Side
from trainer.data.convert import write_rows
from trainer.data.formats import ORIGIN
from trainer.data.parse import MAX_ORIGIN_CHARACTERS, parse
from trainer.evaluation.rows import EvaluationRow
from trainer.pairwise.pairs import Comparison
from trainer.pairwise.winners import Won

KIND = "comparison"


@dataclass(frozen=True, slots=True)
class Exported:
    """How many rows were written; how many ties were not; and how many pairs have no such row: a plain prompt, tools,
    or an answer without text.
    """

    rows: int
    ties: int
    without_form: int


def export_preferences(comparison: Comparison, won: Iterable[Won], file: Path) -> Exported:
    """Write a new file. Raises DataError when it is there already, or cannot be written."""
    rows: list[dict[str, Any]] = []
    ties = without_form = 0
    for one in won:
        if one.winner == "tie":
            ties += 1
        elif one.winner is not None:
            row = _row(comparison, one, one.winner)
            if row is None or parse(1, row, "preference").faults:
                without_form += 1
            else:
                rows.append(row)
    return Exported(write_rows(rows, file), ties, without_form)


def _row(comparison: Comparison, won: Won, winner: Side) -> dict[str, Any] | None:
    prompt = _prompt(won.pair.row)
    if prompt is None or won.pair.a.calls or won.pair.b.calls:
        return None
    loser: Side = "a" if winner == "b" else "b"
    model = comparison.contestant(winner).model[:MAX_ORIGIN_CHARACTERS]
    origin = {"kind": KIND, "model": model, "judged_by": ", ".join(won.by)[:MAX_ORIGIN_CHARACTERS]}
    return {"prompt": prompt, "chosen": won.pair.text(winner), "rejected": won.pair.text(loser), ORIGIN: origin}


def _prompt(row: EvaluationRow) -> Any:
    """A user's only turn as text, else the turns; None for what was not asked as a plain chat."""
    if isinstance(row.prompt, str) or row.tools:
        return None
    if len(row.prompt) == 1 and row.prompt[0]["role"] == "user" and isinstance(row.prompt[0]["content"], str):
        return row.prompt[0]["content"]
    return list(row.prompt)
