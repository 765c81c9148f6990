"""The analyst: `python -m gateway.experiments.analyst`, asked on standard input, answering on standard output.

A question names an experiment, the controller's token, what its clock says and how that jumped lately:
`{"experiment": 3, "database_url": …, "fence": 7, "grace_ms": 5000, "jumps": [], "at_ms": 1764438000000}`. The answer
comes when the next step of its analysis is in the database: `{"folded": 812, "more": false}`, or `{"fault": …}`.
Before the first of them comes `{"ready": true}`. It ends with its parent, whose end closes its input.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, BinaryIO

import orjson
from sqlalchemy.exc import SQLAlchemyError

from gateway.experiments.analysis import Analysis
from registry.children.mouth import Mouth
from registry.db import Database
from registry.errors import RegistryError
from registry.experiments.analysis import AnalysisBooks, Increment
from registry.experiments.clock_jumps import Jump
from registry.experiments.failing import Tallies, Tally
from registry.experiments.intake import Counts, Intake, Taken, counts_of, document
from registry.experiments.judged import Judged
from registry.experiments.plan import Plan
from registry.experiments.units import UnitState
from registry.experiments.windows import WINDOW


def main() -> int:
    """Say that all is there, and answer until the input ends."""
    say = Mouth().say
    say(b'{"ready": true}\n')
    return serve(sys.stdin.buffer, say)


def serve(questions: BinaryIO, say: Callable[[bytes], None]) -> int:
    """One answer to each question."""
    databases: dict[str, Database] = {}
    for line in questions:
        question = orjson.loads(line)
        url = question["database_url"]
        database = databases.get(url) or databases.setdefault(url, Database(url))
        try:
            jumps = [Jump(*one) for one in question["jumps"]]
            books, experiment_id = AnalysisBooks(database), question["experiment"]
            answer = step(books, experiment_id, question["fence"], question["grace_ms"], jumps, question["at_ms"])
        except (RegistryError, SQLAlchemyError, ArithmeticError, ValueError, KeyError) as error:
            answer = {"fault": f"{type(error).__name__}: {error}"[:1000]}
        say(orjson.dumps(answer) + b"\n")
    return 0


def step(
    books: AnalysisBooks,
    experiment_id: int,
    fence: int | None,
    grace_ms: int,
    jumps: Sequence[Jump] = (),
    at_ms: int | None = None,
) -> dict[str, Any]:
    """Take in what is new of one experiment and value what is mature, in one transaction.

    Raises `RegistryError`, `SQLAlchemyError`: then nothing of it is in the database.
    """
    increment = books.increment(experiment_id, grace_ms, jumps, at_ms)
    kept = increment.info.standing or {}
    analysis = _begun(increment, kept)
    windows = _windows(analysis.plan, kept)
    intake = Intake(
        increment.known,
        counts_of(kept.get("counts", {})),
        exposed=analysis.exposed,
        failed=analysis.failed,
        most_units=analysis.plan.budget.units,
        windows=windows,
    )
    taken = intake.take(increment.fed)
    mature = _as_taken(increment, taken)
    values = books.values(increment, mature) if mature else {}
    if not increment.fed and not mature and not increment.judged and kept:
        return {"folded": analysis.folded, "more": False}
    judged_before = analysis.judged
    _fold(analysis, taken, mature, values, increment.judged)
    folded = [
        {"of": unit.unit_hash, "folded": analysis.folded - len(mature) + number, "worth": values[unit.unit_hash]}
        for number, unit in enumerate(mature, 1)
    ]
    books.keep(
        increment, taken, folded, _kept(analysis, taken.counts, windows), judged_before=judged_before, fence=fence
    )
    return {"folded": analysis.folded, "more": increment.more}


def _begun(increment: Increment, kept: Mapping[str, Any]) -> Analysis:
    plan = increment.info.plan
    if not kept:
        return Analysis(plan, increment.shares)
    return Analysis.read(plan, increment.shares, kept["analysis"])


def _as_taken(increment: Increment, taken: Taken) -> list[UnitState]:
    """The mature units, as they are with these attempts."""
    changed = {unit.unit_hash: unit for unit in taken.changed}
    return [changed.get(unit.unit_hash, unit) for unit in increment.mature]


def _fold(
    analysis: Analysis,
    taken: Taken,
    mature: list[UnitState],
    values: Mapping[str, Mapping[str, float]],
    judged: Sequence[Judged],
) -> None:
    for unit in sorted(taken.new, key=lambda unit: unit.exposed_seq):
        analysis.expose(unit)
    before = analysis.failed
    failed = [unit for unit in (*taken.new, *taken.changed) if (unit.failed_seq or 0) > before]
    for unit in sorted(failed, key=lambda unit: unit.failed_seq or 0):
        assert unit.failed_arm is not None
        assert unit.failed_split_id is not None
        analysis.fail(unit.failed_arm, unit.failed_split_id, unit.unit_hash)
    for unit in mature:
        analysis.fold(replace(unit, folded_seq=analysis.folded + 1), values[unit.unit_hash])
    for one in judged:
        if one.unit_hash is not None:
            analysis.judge(one.unit_hash, one.words)
    analysis.note_history()


def _windows(plan: Plan, kept: Mapping[str, Any]) -> Tallies | None:
    """How many requests windows have failed so far, where they are the units."""
    if plan.unit != WINDOW:
        return None
    return Tallies(plan.window_ms, {of: Tally(**one) for of, one in kept.get("windows", ())})


def _kept(analysis: Analysis, counts: Mapping[str, Counts], windows: Tallies | None) -> dict[str, Any]:
    """What the experiment's row has of it: `standing` is for all, the rest for the next step alone."""
    treatments = [one for arm, one in counts.items() if arm in analysis.plan.treatments]
    return {
        "standing": analysis.standing().document,
        "spent_nano": sum(one.cost_nano for one in treatments),
        "counts": document(counts),
        "analysis": analysis.written(),
        **({} if windows is None else {"windows": [[of, asdict(one)] for of, one in windows.known.items()]}),
    }


if __name__ == "__main__":
    sys.exit(main())
