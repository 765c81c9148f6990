"""What swaps know of experiments: whose they are, and what becomes of one when its swap flips or fails.

The state of an experiment changes in the transaction in which its traffic does, so that it says what routes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.db import now_ms
from registry.errors import Conflict
from registry.experiments.infos import Decision
from registry.experiments.log import append
from registry.experiments.plan import Plan
from registry.experiments.rows import Experiment
from registry.splits.store import active_split
from registry.swaps.rows import Swap

EXPERIMENT = "experiment"
"""In a swap's detail: whose it is, and what its flip makes of it."""


def order(row: Experiment, decision: Decision, to_state: str, step: int) -> dict[str, Any]:
    """What the detail of a swap says of the decision that asks for it."""
    said = {"id": row.id, "name": row.name, "kind": decision.kind, "to_state": to_state, "step": step}
    return {EXPERIMENT: said}


def running_on(session: Session, adapter_id: int, alias: str) -> Experiment | None:
    """The experiment whose split the alias's traffic goes by now."""
    split = active_split(session, adapter_id, alias)
    if split is None or split.experiment_id is None:
        return None
    return session.get_one(Experiment, split.experiment_id)


def refuse_while_running(session: Session, adapter: Adapter, alias: str) -> None:
    """Raise `Conflict` when an experiment decides on the alias's traffic: nobody else does then."""
    running = running_on(session, adapter.id, alias)
    if running is not None:
        raise Conflict(
            f"experiment {running.id} ({running.name!r}) of {adapter.tenant}/{adapter.name}@{alias} is "
            f"{running.state} and decides on its traffic; `switchyard experiments stop {running.id}` ends it first, "
            f"`promote` and `rollback` of the same group end it by hand, `stop --keep` leaves its split to you",
            param="alias",
        )


def lock_for(session: Session, swap: Swap) -> Experiment | None:
    """The experiment that a swap is of, locked: before anything of the swap is written, as decisions lock it first."""
    said = swap.detail.get(EXPERIMENT)
    return None if said is None else session.get_one(Experiment, said["id"], with_for_update=True)


def carried_out(swap: Swap, experiment: Experiment) -> None:
    """The swap has flipped, in the caller's transaction. A ramp leaves the state as somebody may have set it since."""
    said = swap.detail[EXPERIMENT]
    at_ms = now_ms()
    if said["step"] != experiment.step:
        experiment.step, experiment.stepped_at_ms = said["step"], at_ms
    if said["kind"] == "start":
        experiment.started_at_ms = at_ms
    if said["kind"] != "ramp":
        experiment.state = said["to_state"]
    if said["kind"] in ("promote", "rollback", "stop"):
        experiment.ended_at_ms = at_ms


def not_carried_out(session: Session, swap: Swap, experiment: Experiment) -> None:
    """The swap has failed, in the caller's transaction: what was decided is taken back, on record."""
    kind = swap.detail[EXPERIMENT]["kind"]
    reason = f"swap {swap.id} of the {kind} failed: {swap.detail.get('error', 'the reason is not known')}"
    append(
        session,
        experiment,
        Decision("failed", reason),
        from_state=experiment.state,
        to_state=experiment.state,
        step=experiment.step,
        weights=weights_of(experiment),
        swap_id=swap.id,
    )


def weights_of(experiment: Experiment) -> dict[str, int]:
    """Arm → 1/10,000 of the traffic now; empty before its start and after its end."""
    if experiment.step < 0 or experiment.ended_at_ms is not None:
        return {}
    return Plan.stored(experiment.plan).weights_at(experiment.step)
