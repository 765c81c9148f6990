"""Where logs that are only appended to end.

Each line is chained to the one before it, so whatever is changed, or taken out of the middle, shows. What is cut off
the end does not: unless the log's *head*, the number and the digest of its last line, was told to somebody else.
A head stands for all lines up to it, so one that is kept elsewhere is enough for all that was before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry.audit.rows import AuditLine
from registry.db import Database
from registry.engine_costs.rows import EngineCostLine
from registry.experiments.rows import ExperimentDecision
from registry.ledger.rows import UsageSegment
from registry.prices.rows import BaselineLine

DIGITS = 32
"""Of a digest in hexadecimal: nobody makes another log that ends with the same ones."""
_FORM = re.compile(rf"\bhead:([a-z-]+(?:/[\w.:-]+)?)#([0-9]{{1,18}})=([0-9a-f]{{{DIGITS}}})\b")
_ID = re.compile("[0-9]{1,18}")


class Head(NamedTuple):
    """Of one log: the number of its lines and the digits of the last one's digest."""

    log: str
    """`audit`, `prices`, `engine-costs`, `decisions/ID` of an experiment, `journal/WRITER` of usage."""
    lines: int
    digits: str

    def __str__(self) -> str:
        return f"head:{self.log}#{self.lines}={self.digits}"


def heads_in(text: str) -> list[Head]:
    """Those that stand in a text, such as a gateway's log."""
    return [Head(log, int(lines), digits) for log, lines, digits in _FORM.findall(text)]


class Heads:
    """Of all logs of one installation."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def all(self) -> list[Head]:
        """Of every log that has a line."""
        with self._db.read() as session:
            return list(_heads(session))

    def faults(self, heads: Iterable[Head]) -> list[str]:
        """What is missing of logs that once had these heads, or is not what it was, a sentence each."""
        with self._db.read() as session:
            return [fault for head in dict.fromkeys(heads) if (fault := _fault(session, head))]


_WHOLE: dict[str, Any] = {"audit": AuditLine, "prices": BaselineLine, "engine-costs": EngineCostLine}
"""Logs in a table of their own."""
_PARTS: dict[str, tuple[Any, Any, Any]] = {
    "decisions": (ExperimentDecision, ExperimentDecision.experiment_id, ExperimentDecision.seq),
    "journal": (UsageSegment, UsageSegment.writer, UsageSegment.sequence),
}
"""Tables with many logs: by what they are told apart, and numbered."""


def _heads(session: Session) -> Iterator[Head]:
    for log, row in _WHOLE.items():
        last = session.execute(select(row.seq, row.digest).order_by(row.seq.desc()).limit(1)).first()
        if last is not None:
            yield Head(log, last.seq, _digits(last.digest))
    for log, (row, of, number) in _PARTS.items():
        newest = select(of.label("of"), func.max(number).label("number")).group_by(of).subquery()
        query = select(of, number, row.digest).join(newest, (of == newest.c.of) & (number == newest.c.number))
        for whose, lines, digest in session.execute(query.order_by(of)):
            yield Head(f"{log}/{whose}", lines, _digits(digest))


def _fault(session: Session, head: Head) -> str | None:
    log, _, whose = head.log.partition("/")
    if (whole := _WHOLE.get(log)) is not None and not whose:
        query = select(whole.digest).where(whole.seq == head.lines)
    elif log in _PARTS and whose and (log != "decisions" or _ID.fullmatch(whose)):
        row, of, number = _PARTS[log]
        query = select(row.digest).where(of == (int(whose) if log == "decisions" else whose), number == head.lines)
    else:
        return f"{head.log!r} is no log of this installation; a gateway of another version may have told its head"
    digest = session.scalars(query).first()
    if digest is None:
        return (
            f"the log {head.log} had {head.lines} lines once, and its line {head.lines} is missing: its end was cut off"
        )
    if _digits(digest) != head.digits:
        return f"line {head.lines} of the log {head.log} is not the one that was there: it was written anew"
    return None


def _digits(digest: str) -> str:
    return digest.removeprefix("sha256:")[:DIGITS]
