"""The log of decisions: appended to in the transaction in which they take effect, chained by digests, never changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.db import now_ms
from registry.errors import InvalidInput
from registry.experiments.infos import MOST_FIGURES, MOST_REASON, Decision, DecisionInfo
from registry.experiments.plan import Plan
from registry.experiments.rows import Experiment, ExperimentDecision
from registry.storage.blobs import canonical_json, digest_of
from registry.webhooks.outbox import add_event

EVENT_TYPE = "experiment.decision"
"""What tenants' webhooks are told."""


def append(
    session: Session,
    row: Experiment,
    decision: Decision,
    *,
    from_state: str,
    to_state: str,
    step: int,
    weights: Mapping[str, int],
    swap_id: int | None,
) -> DecisionInfo:
    """Write a decision down; the experiment's row must be locked. Raises `InvalidInput` for figures that are no JSON.

    `to_state`, `step` and `weights` (arm → 1/10,000) are what it leads to; with a swap, when that flips.
    """
    row.decisions += 1
    document: dict[str, Any] = {
        "experiment": row.id,
        "seq": row.decisions,
        "at_ms": now_ms(),
        "kind": decision.kind,
        "from": from_state,
        "to": to_state,
        "step": step,
        "weights": dict(weights),
        "figures": dict(decision.figures),
        "reason": decision.reason[:MOST_REASON],
        "inputs": decision.inputs_digest,
        "actor": decision.actor[:100],
        "swap": swap_id,
        "previous": _last_digest(session, row),
    }
    _check_figures(document["figures"])
    written = canonical_json(document)
    line = ExperimentDecision(
        experiment_id=row.id,
        seq=row.decisions,
        at_ms=document["at_ms"],
        kind=decision.kind,
        from_state=from_state,
        to_state=to_state,
        document=written.decode(),
        swap_id=swap_id,
        digest=digest_of(written),
    )
    session.add(line)
    adapter = session.get_one(Adapter, row.adapter_id)
    add_event(session, adapter.tenant, EVENT_TYPE, _told(row, adapter, document))
    return decision_info(line)


def _last_digest(session: Session, row: Experiment) -> str:
    if row.decisions == 1:
        return ""
    return session.get_one(ExperimentDecision, (row.id, row.decisions - 1)).digest


def _check_figures(figures: Mapping[str, Any]) -> None:
    try:
        size = len(canonical_json(figures))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"figures are no JSON: {error}; leave out what is not finite", param="figures") from None
    if size > MOST_FIGURES:
        raise InvalidInput(f"figures are {size} bytes of JSON; the most is {MOST_FIGURES}", param="figures")


def _told(row: Experiment, adapter: Adapter, document: Mapping[str, Any]) -> dict[str, Any]:
    """What a webhook gets of it."""
    return {
        "id": str(row.id),
        "name": row.name,
        "adapter": f"{adapter.tenant}/{adapter.name}",
        "alias": row.alias,
        "treatments": list(Plan.stored(row.plan).treatments),
        "seq": document["seq"],
        "kind": document["kind"],
        "from_state": document["from"],
        "to_state": document["to"],
        "step": document["step"],
        "weights": document["weights"],
        "reason": document["reason"],
        "actor": document["actor"],
        "swap": document["swap"],
    }


def decision_info(line: ExperimentDecision) -> DecisionInfo:
    """A line of the log as callers see it."""
    document = json.loads(line.document)
    return DecisionInfo(
        experiment_id=line.experiment_id,
        seq=line.seq,
        at_ms=line.at_ms,
        kind=document["kind"],
        from_state=document["from"],
        to_state=document["to"],
        step=document["step"],
        weights=document["weights"],
        figures=document["figures"],
        reason=document["reason"],
        inputs_digest=document["inputs"],
        actor=document["actor"],
        swap_id=line.swap_id,
        previous=document["previous"],
        digest=line.digest,
    )


def faults_in(log: Sequence[DecisionInfo]) -> Iterator[str]:
    """What is wrong with a log that was read from elsewhere, a sentence each: every line has the digest of the one
    before it, and its own is of all that it says.
    """
    previous = ""
    for number, line in enumerate(log, 1):
        document = {
            "experiment": line.experiment_id,
            "seq": line.seq,
            "at_ms": line.at_ms,
            "kind": line.kind,
            "from": line.from_state,
            "to": line.to_state,
            "step": line.step,
            "weights": line.weights,
            "figures": line.figures,
            "reason": line.reason,
            "inputs": line.inputs_digest,
            "actor": line.actor,
            "swap": line.swap_id,
            "previous": line.previous,
        }
        if line.seq != number:
            yield f"decision {number} is missing"
            return
        if digest_of(canonical_json(document)) != line.digest:
            yield f"decision {number} is not what was written: its digest is another one"
        if line.previous != previous:
            yield f"decision {number} does not follow the one before it"
        previous = line.digest


def faults_of(session: Session, row: Experiment) -> list[str]:
    """What is wrong with an experiment's log, a sentence each; empty when nobody has touched it."""
    lines = session.scalars(
        select(ExperimentDecision).where(ExperimentDecision.experiment_id == row.id).order_by(ExperimentDecision.seq)
    ).all()
    found = [*_broken(lines)]
    if len(lines) != row.decisions:
        found.append(f"experiment {row.id} has made {row.decisions} decisions, and its log has {len(lines)}")
    return found


def _broken(lines: Sequence[ExperimentDecision]) -> Iterator[str]:
    previous = ""
    for number, line in enumerate(lines, 1):
        document = json.loads(line.document)
        if line.seq != number:
            yield f"decision {number} is missing"
            return
        if digest_of(line.document.encode()) != line.digest:
            yield f"decision {number} is not what was written: its digest is another one"
        columns = (line.seq, line.at_ms, line.kind, line.from_state, line.to_state, line.swap_id)
        if columns != tuple(document[name] for name in ("seq", "at_ms", "kind", "from", "to", "swap")):
            yield f"decision {number} has columns that are not as in its document"
        if document["previous"] != previous:
            yield f"decision {number} does not follow the one before it"
        previous = line.digest
