"""Rows of experiments: found by what people call them, and as callers see them."""

from __future__ import annotations

import re

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter, Alias, Version
from registry.adapters.version_rows import require_adapter, require_version
from registry.errors import InvalidInput, NotFound
from registry.experiments.carrying import weights_of
from registry.experiments.infos import ExperimentArm, ExperimentInfo
from registry.experiments.plan import Plan
from registry.experiments.rows import Experiment
from registry.names import AdapterRef, VersionNumber, parse_whole_adapter
from registry.splits.rows import BASE, BASE_ARM, Split
from registry.swaps.rows import Swap

_ID = re.compile(r"[0-9]{1,18}")


def find_row(session: Session, text: str, *, lock: bool = False) -> Experiment:
    """The experiment that is called so (`registry.experiments.store.Experiments.find`). Raises `NotFound`."""
    if _ID.fullmatch(text):
        row: Experiment | None = session.get(Experiment, int(text), with_for_update=lock or None)
    else:
        row = session.scalars(_named(session, text).limit(1)).first()
    if row is None:
        raise NotFound(
            f"there is no experiment {text[:80]!r}; `switchyard experiments list` shows what there is",
            param="experiment",
        )
    return row


def _named(session: Session, text: str) -> Select[Experiment]:
    path, colon, name = text.partition(":")
    try:
        ref = parse_whole_adapter(path)
    except InvalidInput:
        raise InvalidInput(
            f"experiment is {text[:80]!r}; expected its id, tenant/adapter, or tenant/adapter:NAME", param="experiment"
        ) from None
    query = select(Experiment).where(Experiment.adapter_id == require_adapter(session, ref).id)
    if colon:
        return query.where(Experiment.name == name)
    return query.order_by(Experiment.ended_at_ms.is_not(None), Experiment.id.desc())


def adapters_of(tenant: str) -> Select[int]:
    """Ids of a tenant's adapters."""
    return select(Adapter.id).where(Adapter.tenant == tenant)


def arm_of(session: Session, adapter: Adapter, name: str, control: Version) -> ExperimentArm:
    """An arm by its name; the base is the control's. Raises `NotFound`."""
    if name == BASE:
        return ExperimentArm(BASE, BASE_ARM, control.base_digest)
    version = version_of(session, adapter, name)
    return ExperimentArm(name, version.id, version.manifest_digest, version.quarantined)


def version_of(session: Session, adapter: Adapter, number: str) -> Version:
    """By its number. Raises `NotFound`."""
    ref = AdapterRef(adapter.tenant, adapter.name, VersionNumber.parse(number), None)
    return require_version(session, adapter, ref)


def pointed_at(session: Session, adapter: Adapter, alias: str) -> Version:
    """What the alias points at. Raises `NotFound`."""
    row = session.get(Alias, (adapter.id, alias))
    if row is None:
        name = f"{adapter.tenant}/{adapter.name}"
        raise NotFound(
            f"{name}@{alias} points at nothing yet, so there is no control; promote a version first: "
            f"`switchyard adapters promote {name}@VERSION`",
            param="alias",
        )
    return session.get_one(Version, row.version_id)


def experiment_info(session: Session, row: Experiment) -> ExperimentInfo:
    """The rows of an experiment as callers see it."""
    adapter = session.get_one(Adapter, row.adapter_id)
    plan = Plan.stored(row.plan)
    control = version_of(session, adapter, plan.arms[0])
    splits = session.scalars(select(Split.id).where(Split.experiment_id == row.id).order_by(Split.id))
    swap = None if row.swap_id is None else session.get(Swap, row.swap_id)
    return ExperimentInfo(
        id=row.id,
        name=row.name,
        adapter=f"{adapter.tenant}/{adapter.name}",
        adapter_id=adapter.id,
        alias=row.alias,
        state=row.state,  # type: ignore[arg-type]
        plan=plan,
        arms=tuple(arm_of(session, adapter, name, control) for name in plan.arms),
        salt=row.salt,
        step=row.step,
        stepped_at_ms=row.stepped_at_ms,
        weights=weights_of(row),
        splits=tuple(splits),
        swap_id=row.swap_id,
        moving=swap is not None and swap.finished_at_ms is None,
        decisions=row.decisions,
        standing=row.standing,
        standing_at_ms=row.standing_at_ms,
        actor=row.actor,
        created_at_ms=row.created_at_ms,
        started_at_ms=row.started_at_ms,
        ended_at_ms=row.ended_at_ms,
    )
