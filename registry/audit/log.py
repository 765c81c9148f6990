"""Appends to the audit log, and proves it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.audit.changes import ChangedRows
from registry.audit.order import Order, Ordered, Outcome
from registry.audit.rows import AuditLine
from registry.audit.secrets import clean, told
from registry.backends import AUDIT_LOCK, number_in_order
from registry.db import Database, now_ms
from registry.storage.blobs import canonical_json, digest_of

READ_AT_ONCE = 1_000


def write_order(db: Database, ordered: Ordered) -> int:
    """The first line of an order, in a transaction of its own; its number."""
    said = {**clean({**asdict(ordered), "body": None}), "body": told(ordered.body)}
    with db.write_unordered() as session:
        return _append(session, "order", None, said)


def write_changes(session: Session, order: Order, changed: ChangedRows) -> None:
    """What this transaction changes for an order: a line that is there exactly if the change is. Write it last, as who
    has the log locked waits for nothing else.
    """
    if order.takes_changes and (documents := changed.documents()):
        said = {"tenant": changed.tenant, "object": changed.about, "changes": documents}
        _append(session, "change", order.seq, said)


def write_end(db: Database, order: Order, outcome: Outcome, *, status: int | None, error: str | None) -> None:
    """The last line of an order."""
    said = clean({"outcome": outcome, "status": status, "error": error, "rows_untold": order.rows_untold})
    with db.write_unordered() as session:
        _append(session, "end", order.seq, said)


def _append(session: Session, kind: str, order_seq: int | None, said: Mapping[str, Any]) -> int:
    number_in_order(session, AUDIT_LOCK)
    last = session.execute(select(AuditLine.seq, AuditLine.digest).order_by(AuditLine.seq.desc()).limit(1)).first()
    seq, previous = (1, "") if last is None else (last.seq + 1, last.digest)
    document = {
        **said,
        "seq": seq,
        "at_ms": now_ms(),
        "order_seq": seq if order_seq is None else order_seq,
        "kind": kind,
        "previous": previous,
    }
    written = canonical_json(document)
    line = AuditLine(
        seq=seq,
        at_ms=document["at_ms"],
        order_seq=document["order_seq"],
        kind=kind,
        actor=str(said.get("actor", ""))[:100],
        tenant=said.get("tenant"),
        object=str(said.get("object", ""))[:320],
        document=written.decode(),
        digest=digest_of(written),
    )
    session.add(line)
    session.flush()
    return seq


def faults_in(session: Session) -> tuple[int, list[str]]:
    """How many lines there are, and what is wrong with them, a sentence each; none when nobody has touched the log."""
    faults: list[str] = []
    previous, number = "", 0
    for number, line in enumerate(_lines(session), 1):
        if line.seq != number:
            return number, [*faults, f"line {number} of the audit log is missing"]
        document = json.loads(line.document)
        if (
            digest_of(line.document.encode()) != line.digest
            or document["previous"] != previous
            or not _is(line, document)
        ):
            faults.append(f"line {number} of the audit log is not what was written: its digest is another one")
        previous = line.digest
    return number, faults


def _lines(session: Session) -> Iterator[AuditLine]:
    after = 0
    while True:
        some = session.scalars(
            select(AuditLine).where(AuditLine.seq > after).order_by(AuditLine.seq).limit(READ_AT_ONCE)
        ).all()
        if not some:
            return
        yield from some
        after = some[-1].seq
        session.expunge_all()


def _is(line: AuditLine, document: Mapping[str, Any]) -> bool:
    """Whether the columns say what the document does."""
    columns = (line.seq, line.at_ms, line.order_seq, line.kind, line.actor, line.tenant, line.object)
    said = tuple(document[name] for name in ("seq", "at_ms", "order_seq", "kind"))
    about = (str(document.get("actor", ""))[:100], document.get("tenant"), str(document.get("object", ""))[:320])
    return columns == said + about
