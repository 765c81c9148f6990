"""A judge's verdicts on pairs of answers, as an experiment takes them in: of each unit the first, and that once.

Copies of an experiment's requests make pairs of the control's answer and a treatment's (`registry.shadows`). Pairs of
one unit are not independent of each other, so that more than one would make the comparison surer than it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.orm import Session

from registry.experiments.infos import ExperimentInfo
from registry.experiments.units import TABLE, units_of
from registry.ledger.rows import USAGE
from registry.shadows.rows import PairVerdict, Shadow
from registry.shadows.summary import UNREADABLE

MOST_VERDICTS = 1_000
"""That are taken in, in one step."""
WAITS_MS = 600_000
"""So long a verdict waits for its unit: usage rows come within seconds."""
_VERDICTS = cast("Table", PairVerdict.__table__)


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict. `unit_hash` is `None` where it counts for nothing: its unit has one already, or is not in it."""

    shadow_id: int
    request_id: str
    judge: str
    unit_hash: str | None
    words: str
    """Whom the judge preferred with the candidate's answer first, and with the control's."""


def verdicts_waiting(session: Session, info: ExperimentInfo, at_ms: int) -> list[Judged]:
    """What the plan's judge has said and nobody has taken in, the oldest first; none where no judge decides.

    One whose unit has not been taken in yet is left for later.
    """
    judge = info.plan.shadow.judge if info.plan.shadow is not None and info.plan.judged else None
    if judge is None:
        return []
    return list(_first_of_units(session, info, _rows(session, info, judge), at_ms))


def _rows(session: Session, info: ExperimentInfo, judge: str) -> Sequence[Any]:
    """Verdicts, each with the unit of its request, if that was led to the control."""
    word, used = PairVerdict, USAGE.c
    mine = (used.request_id == word.request_id) & used.split_id.in_(info.splits) & (used.arm == info.plan.arms[0])
    unit = select(used.unit_hash).where(mine, used.shadow.is_not(True)).order_by(used.attempt_id).limit(1)
    query = (
        select(word, unit.scalar_subquery().label("unit_hash"))
        .join(Shadow, Shadow.id == word.shadow_id)
        .where(Shadow.experiment_id == info.id, word.judge == judge, word.taken_in.is_(None))
        .order_by(word.at_ms, word.request_id)
        .limit(MOST_VERDICTS)
    )
    return session.execute(query).all()


def _first_of_units(session: Session, info: ExperimentInfo, rows: Sequence[Any], at_ms: int) -> Iterator[Judged]:
    known = units_of(session, info.id, [unit for _, unit in rows if unit is not None])
    counted = {name for name, unit in known.items() if unit.judged_seq is not None}
    for row, unit in rows:
        if unit not in known and row.at_ms > at_ms - WAITS_MS:
            continue
        counts = unit in known and unit not in counted and row.verdict != UNREADABLE
        if counts:
            counted.add(unit)
        words = f"{row.candidate_first} {row.control_first}"
        yield Judged(row.shadow_id, row.request_id, row.judge, unit if counts else None, words)


def store_judged(session: Session, experiment_id: int, judged: Sequence[Judged], before: int) -> None:
    """Give units their verdicts and places, which go on from `before`, in the transaction that stores what came of
    them.
    """
    if not judged:
        return
    connection = session.connection()
    counted = [one for one in judged if one.unit_hash is not None]
    if counted:
        mine = (TABLE.c.experiment_id == experiment_id) & (TABLE.c.unit_hash == bindparam("of"))
        news = update(TABLE).where(mine).values(judged_seq=bindparam("place"), judged=bindparam("words"))
        rows = [
            {"of": one.unit_hash, "place": place, "words": one.words} for place, one in enumerate(counted, before + 1)
        ]
        connection.execute(news, rows)
    column = _VERDICTS.c
    of = (column.shadow_id == bindparam("shadow")) & (column.request_id == bindparam("request"))
    done = update(_VERDICTS).where(of, column.judge == bindparam("by")).values(taken_in=True)
    connection.execute(done, [{"shadow": one.shadow_id, "request": one.request_id, "by": one.judge} for one in judged])
