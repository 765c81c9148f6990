"""The first transaction of a deletion: from its end on there is no such tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sqlalchemy import delete, select

from registry.adapters.rows import Adapter, Alias
from registry.catalog.changes import ADAPTER, Change
from registry.db import now_ms
from registry.experiments.infos import MOST_REASON, Decision, State, check_follows
from registry.experiments.log import append
from registry.experiments.rows import Experiment
from registry.gates.rows import Gate
from registry.limits.rows import Limit
from registry.shadows.ending import end_shadow
from registry.shadows.rows import Shadow
from registry.splits.rows import Split
from registry.swaps.infos import FAILED
from registry.swaps.rows import Swap
from registry.tenants.actions import record_action
from registry.tenants.rows import ApiKey, ModelMap, Tenant
from registry.training.keeping import end
from registry.training.rows import TrainingJobRow
from registry.webhooks.rows import WebhookEndpointRow

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession

REASON = "the tenant was deleted"


def delete_tenant(session: WriteSession, tenant: Tenant, actor: str) -> None:
    """Let there be no such tenant. Its row is locked, and it is not deleted yet."""
    name = tenant.name
    session.execute(delete(WebhookEndpointRow).where(WebhookEndpointRow.tenant == name))  # nobody is told of the rest
    for adapter in session.scalars(select(Adapter).where(Adapter.tenant == name).order_by(Adapter.id)).all():
        _end_adapter(session, adapter, actor)
    for job in session.scalars(
        select(TrainingJobRow).where(TrainingJobRow.tenant == name, TrainingJobRow.finished_at_ms.is_(None))
    ).all():
        end(session, job, "cancelled")
    keys = session.scalars(select(ApiKey).where(ApiKey.tenant == name)).all()
    for limit in session.scalars(select(Limit)).all():
        if _is_scope_of(limit.scope, name, {key.id for key in keys}):
            session.delete(limit)
    for row in (*keys, *session.scalars(select(ModelMap).where(ModelMap.tenant == name)).all()):
        session.delete(row)
    tenant.deleted_at_ms = now_ms()
    tenant.shadow_consent = False
    record_action(session, actor, "tenant.deleted", name, name, keys=len(keys))


def _end_adapter(session: WriteSession, adapter: Adapter, actor: str) -> None:
    """Nothing points at it, decides on it or moves it any more. Experiments are locked first, as decisions do it."""
    adapter_id = adapter.id
    for experiment in session.scalars(
        select(Experiment)
        .where(Experiment.adapter_id == adapter_id, Experiment.ended_at_ms.is_(None))
        .order_by(Experiment.id)
        .with_for_update()
    ).all():
        _end_experiment(session, experiment, actor)
    swaps = select(Swap).where(Swap.adapter_id == adapter_id, Swap.finished_at_ms.is_(None)).with_for_update()
    for swap in session.scalars(swaps).all():
        swap.state, swap.finished_at_ms = FAILED, now_ms()
        swap.detail = {**swap.detail, "error": REASON}
    for split in session.scalars(select(Split).where(Split.adapter_id == adapter_id, Split.ended_at_ms.is_(None))):
        split.ended_at_ms = now_ms()
    for shadow in session.scalars(select(Shadow).where(Shadow.adapter_id == adapter_id, Shadow.ended_at_ms.is_(None))):
        end_shadow(session, shadow, why=REASON, actor=actor)
    for alias in session.scalars(select(Alias).where(Alias.adapter_id == adapter_id)).all():
        session.delete(alias)
    session.execute(delete(Gate).where(Gate.adapter_id == adapter_id))
    adapter.answer_checks = None
    session.note(Change(ADAPTER, f"{adapter.tenant}/{adapter.name}"))


def _end_experiment(session: WriteSession, row: Experiment, actor: str) -> None:
    before, decision = row.state, Decision("stop", REASON[:MOST_REASON], actor=actor)
    row.state, row.ended_at_ms = check_follows(decision.kind, cast("State", row.state), str(row.id)), now_ms()
    append(session, row, decision, from_state=before, to_state=row.state, step=row.step, weights={}, swap_id=None)


def _is_scope_of(scope: str, tenant: str, keys: set[str]) -> bool:
    kind, _, name = scope.partition(":")
    if kind == "key":
        return name in keys
    return (kind == "tenant" and name == tenant) or (kind == "adapter" and name.startswith(f"{tenant}/"))
