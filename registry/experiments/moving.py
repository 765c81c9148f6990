"""What follows from a decision: a swap where traffic must move, else a new state at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.db import now_ms
from registry.errors import Conflict, InvalidInput
from registry.experiments.carrying import order, refuse_while_running, weights_of
from registry.experiments.finding import pointed_at, version_of
from registry.experiments.infos import Decision, State, check_follows
from registry.experiments.plan import Plan
from registry.experiments.rows import Experiment
from registry.gates.rules import UNGATED, pass_gate
from registry.shadows.consent import require_consent
from registry.shadows.terms import check_terms, terms_of
from registry.splits.ranges import FULL_WEIGHT
from registry.splits.rows import BASE
from registry.splits.store import active_split
from registry.swaps.queueing import enqueue, enqueue_ramp
from registry.swaps.rows import Swap
from registry.swaps.rules import Weighed, refuse_quarantined
from registry.tenants.rows import ApiKey

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a decision leads to; with a swap, when that flips."""

    to_state: str
    step: int
    weights: Mapping[str, int]
    swap_id: int | None = None


def frozen(session: Session, adapter: Adapter, alias: str, plan: Plan) -> Plan:
    """The plan with what it left open, checked against what there is. Raises `NotFound`, `InvalidInput`, `Conflict`."""
    _check_holdout(session, adapter, plan)
    _check_audience(session, adapter.tenant, plan)
    return plan_against(session, adapter, alias, plan)


def plan_against(session: Session, adapter: Adapter, alias: str, plan: Plan) -> Plan:
    """The plan with its control, and treatments that there are. Raises `NotFound`, `InvalidInput`."""
    current = pointed_at(session, adapter, alias)
    control = f"{current.major}.{current.minor}"
    name = f"{adapter.tenant}/{adapter.name}@{alias}"
    if plan.control not in (None, control):
        raise InvalidInput(
            f"control is {plan.control!r}, and {name} points at {control}; leave it out, or promote "
            f"{plan.control} first",
            param="control",
        )
    if control in plan.treatments:
        raise InvalidInput(
            f"treatments have {control!r}, which {name} points at already; try another version", param="treatments"
        )
    for arm in plan.treatments:
        if arm != BASE:
            refuse_quarantined(session, adapter, version_of(session, adapter, arm), "treatments")
    return plan.model_copy(update={"control": control})


def _check_holdout(session: Session, adapter: Adapter, plan: Plan) -> None:
    """A unit that is held out is so by every experiment of the adapter."""
    under_way = select(Experiment).where(
        Experiment.adapter_id == adapter.id, Experiment.started_at_ms.is_not(None), Experiment.ended_at_ms.is_(None)
    )
    for other in session.scalars(under_way):
        held_out = Plan.stored(other.plan).holdout_percent
        if held_out != plan.holdout_percent:
            raise Conflict(
                f"holdout_percent is {plan.holdout_percent:g}, and {held_out:g} in experiment {other.id} of the same "
                f"adapter, which is {other.state}; say {held_out:g}, or stop that one first",
                param="holdout_percent",
            )


def _check_audience(session: Session, tenant: str, plan: Plan) -> None:
    """Keys are the tenant's own, by their ids: a secret that is given instead is neither kept nor shown."""
    keys = select(ApiKey.id).where(ApiKey.tenant == tenant, ApiKey.revoked_at_ms.is_(None))
    known = set(session.scalars(keys.where(ApiKey.id.in_(plan.audience.keys))))
    for key in plan.audience.keys:
        if key not in known:
            raise InvalidInput(
                f"audience.keys has {key[:8]!r}…, which is the id of no key of {tenant}'s that is in force; "
                f"`switchyard keys list {tenant}` shows the ids",
                param="audience.keys",
            )


def check_can_start(session: Session, adapter: Adapter, alias: str, plan: Plan) -> None:
    """Raise `Conflict` while something else decides on the alias's traffic, or it does not point at the control, and
    `InvalidInput` where requests are to be copied of a tenant that does not consent.
    """
    refuse_while_running(session, adapter, alias)
    name = f"{adapter.tenant}/{adapter.name}"
    if (split := active_split(session, adapter.id, alias)) is not None:
        to_alias = "" if alias == "production" else f" --alias {alias}"
        raise Conflict(
            f"{name}@{alias} is split by hand (split {split.id}), and one policy decides on an alias at a time; end it "
            f"with `switchyard adapters split {name} --end{to_alias}` first",
            param="alias",
        )
    _check_copies(session, adapter, alias, plan)
    current = pointed_at(session, adapter, alias)
    if plan.control != f"{current.major}.{current.minor}":
        raise Conflict(
            f"{name}@{alias} points at {current.major}.{current.minor} by now, and the control is {plan.control}; "
            "create another experiment",
            param="control",
        )


def _check_copies(session: Session, adapter: Adapter, alias: str, plan: Plan) -> None:
    terms = terms_of(plan)
    if terms is None or plan.copied_to is None:
        return
    require_consent(session, adapter.tenant)
    try:
        check_terms(session, adapter, version_of(session, adapter, plan.copied_to), terms, alias)
    except InvalidInput as error:
        raise InvalidInput(f"shadow: {error.message}", param=f"shadow.{error.param}") from None


def carry_out(session: WriteSession, row: Experiment, decision: Decision) -> Consequence:
    """Begin what follows. The row is locked. Raises `Conflict`, `GateClosed`, `InvalidInput`."""
    to_state = check_follows(decision.kind, cast("State", row.state), str(row.id))
    adapter = session.get_one(Adapter, row.adapter_id)
    plan = Plan.stored(row.plan)
    if decision.kind == "start":
        check_can_start(session, adapter, row.alias, plan)
        return _ramp(session, row, decision, plan, 0, to_state)
    if decision.kind == "ramp":
        return _ramp(session, row, decision, plan, _next_step(row, decision, plan), to_state)
    if decision.kind == "promote":
        return _promote(session, row, decision, plan, to_state)
    if decision.kind in ("rollback", "stop"):
        return _end(session, row, decision, to_state)
    row.state = to_state
    return Consequence(to_state, row.step, weights_of(row))


def _next_step(row: Experiment, decision: Decision, plan: Plan) -> int:
    step = row.step + 1 if decision.step is None else decision.step
    if not row.step < step < len(plan.ramp):
        raise InvalidInput(
            f"step is {step}, and the ramp is at {row.step} of 0 to {len(plan.ramp) - 1}; it goes up only, as units "
            "that were moved back would no longer count",
            param="step",
        )
    return step


def _ramp(
    session: WriteSession, row: Experiment, decision: Decision, plan: Plan, step: int, to_state: str
) -> Consequence:
    adapter = session.get_one(Adapter, row.adapter_id)
    weights = plan.weights_at(step)
    arms: list[Weighed] = [
        (None if arm == BASE else version_of(session, adapter, arm), weight) for arm, weight in weights.items()
    ]
    for version, _ in arms:
        if version is not None:
            refuse_quarantined(session, adapter, version, "treatments")
    control = version_of(session, adapter, plan.arms[0])
    detail = pass_gate(session, adapter, row.alias, arms, decision.override, decision.actor)
    detail |= order(row, decision, to_state, step)
    swap = enqueue_ramp(session, adapter, control, arms, row.alias, decision.actor, decision.reason, **detail)
    row.swap_id = swap.id
    return Consequence(to_state, step, weights, swap.id)


def _promote(session: WriteSession, row: Experiment, decision: Decision, plan: Plan, to_state: str) -> Consequence:
    adapter = session.get_one(Adapter, row.adapter_id)
    version = version_of(session, adapter, _winner(decision, plan))
    refuse_quarantined(session, adapter, version, "version")
    detail = pass_gate(session, adapter, row.alias, [(version, FULL_WEIGHT)], decision.override, decision.actor)
    detail |= order(row, decision, to_state, row.step)
    swap = enqueue(session, adapter, version, row.alias, decision.actor, decision.reason, **detail)
    row.swap_id = swap.id
    return Consequence(to_state, row.step, {_winner(decision, plan): FULL_WEIGHT}, swap.id)


def _winner(decision: Decision, plan: Plan) -> str:
    arm = decision.arm or (plan.treatments[0] if len(plan.treatments) == 1 else None)
    if arm is None or arm not in plan.treatments:
        given = "missing" if arm is None else repr(arm)
        raise InvalidInput(
            f"version is {given}; choose one of the treatments: {', '.join(plan.treatments)}", param="version"
        )
    if arm == BASE:
        raise InvalidInput(
            "version is 'base', which no alias can point at; stop the experiment instead", param="version"
        )
    return arm


def _end(session: WriteSession, row: Experiment, decision: Decision, to_state: str) -> Consequence:
    adapter = session.get_one(Adapter, row.adapter_id)
    if row.started_at_ms is None:
        refuse_while_moving(session, row)
        row.state, row.ended_at_ms = to_state, now_ms()
        return Consequence(to_state, row.step, {})
    if decision.keep:
        return _keep(session, row, to_state)
    current = pointed_at(session, adapter, row.alias)
    if current.quarantined:
        raise InvalidInput(
            f"control {current.major}.{current.minor} is quarantined: {current.quarantined[:200]}; promote a "
            f"treatment, or `switchyard experiments stop {row.id} --keep` and then `switchyard adapters rollback`",
            param="alias",
        )
    detail: dict[str, Any] = order(row, decision, to_state, row.step)
    arms: list[Weighed] = [(current, FULL_WEIGHT)]
    swap = enqueue_ramp(
        session, adapter, current, arms, row.alias, decision.actor, decision.reason, gate=UNGATED, **detail
    )
    row.swap_id = swap.id
    return Consequence(to_state, row.step, {f"{current.major}.{current.minor}": FULL_WEIGHT}, swap.id)


def _keep(session: WriteSession, row: Experiment, to_state: str) -> Consequence:
    """The split goes on as one that a person has set; it is the same arms, so nothing is loaded."""
    refuse_while_moving(session, row)
    split = active_split(session, row.adapter_id, row.alias)
    weights = weights_of(row)
    if split is not None:
        split.experiment_id = None
    row.state, row.ended_at_ms = to_state, now_ms()
    return Consequence(to_state, row.step, weights)


def refuse_while_moving(session: Session, row: Experiment) -> None:
    """Raise `Conflict` while a swap of the experiment is under way."""
    swap = None if row.swap_id is None else session.get(Swap, row.swap_id)
    if swap is not None and swap.finished_at_ms is None:
        raise Conflict(
            f"swap {swap.id} of experiment {row.id} is still {swap.state!r}; try again when it has ended", param="swap"
        )
