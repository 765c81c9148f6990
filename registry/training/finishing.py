"""A job that has succeeded: its version, the name of that, and the end of the job, all or nothing; and how such a name
ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Alias, Version
from registry.adapters.version_rows import VersionInfo, require_adapter, require_version
from registry.db import now_ms
from registry.errors import NotFound
from registry.names import parse_ref
from registry.splits.rows import Split
from registry.swaps.rows import Swap
from registry.tenants.actions import PROGRAM, record_action
from registry.tenants.rows import ModelMap
from registry.training.jobs import NotOfAJob, Publication, TrainingJob
from registry.training.keeping import add_job_event, end
from registry.training.rows import TrainingJobRow

if TYPE_CHECKING:
    from registry.adapters.store import Adapters
    from registry.catalog.changes import WriteSession


def succeed(
    adapters: Adapters, job: TrainingJob, publication: Publication, ended: Callable[[Session], TrainingJobRow]
) -> TrainingJobRow:
    """Publish what came out of a job, under its name. `ended` is the job's row, or raises `LeaseLost`.

    Raises what `Adapters.publish` raises.
    """
    rows = []

    def name_it(session: WriteSession, version: VersionInfo) -> None:
        row = ended(session)
        row.version_id = version.id
        row.fine_tuned_model = _named(session, job, version)
        add_job_event(session, row, "info", f"New fine-tuned model created: {row.fine_tuned_model} ({version.name})")
        end(session, row, "succeeded")
        rows.append(row)

    adapters.publish(
        tenant=job.tenant,
        adapter=job.adapter,
        folder=publication.folder,
        base=job.order.base,
        lineage=publication.lineage,
        declared_base=publication.declared_base,
        also=name_it,
    )
    return rows[0]


def _named(session: WriteSession, job: TrainingJob, version: VersionInfo) -> str:
    """What stands for this version from now on: it ends as the job's id, or has all of it where that is taken."""
    for name in (job.model_name(), job.model_name(job.id)):
        row = ModelMap(tenant=job.tenant, external=name, target=version.name, created_at_ms=now_ms())
        if session.add_new(row):
            record_action(
                session, PROGRAM, "model.mapped", job.tenant, f"{job.tenant}/{name}", target=version.name, job=job.id
            )
            return name
    raise AssertionError(f"{job.id} has been published before")


def forget_model(session: WriteSession, tenant: str, name: str, actor: str) -> bool:
    """Take the name of a job's result away; whether its version went into quarantine with it, which it does when no
    other name, alias, split or swap leads to it: so nothing serves it any more, and an operator can have it back.

    Raises `NotFound` for what is no mapped name of the tenant's, `NotOfAJob`.
    """
    row = session.get(ModelMap, (tenant, name), with_for_update=True)
    job = select(TrainingJobRow.id).where(TrainingJobRow.tenant == tenant, TrainingJobRow.fine_tuned_model == name)
    if row is None:
        raise NotFound(f"there is no fine-tuned model {name[:200]!r} of tenant {tenant!r}", param="model")
    if session.scalars(job).first() is None:
        raise NotOfAJob(f"{name[:200]!r} is no name that a job has made", param="model")
    ref = parse_ref(row.target, tenant=tenant)
    session.delete(row)
    session.flush()
    record_action(session, actor, "model.unmapped", tenant, f"{tenant}/{name}", before=row.target)
    version = require_version(session, require_adapter(session, ref), ref)
    others = select(ModelMap.external).where(ModelMap.tenant == tenant, ModelMap.target == row.target)
    if version.quarantined is not None or session.scalars(others).first() is not None or _is_used(session, version):
        return False
    version.quarantined, version.quarantined_by_machine = f"its model {name} was deleted", False
    return True


def _is_used(session: Session, version: Version) -> bool:
    aliases = select(Alias.name).where(Alias.adapter_id == version.adapter_id, Alias.version_id == version.id)
    swaps = select(Swap.id).where(Swap.adapter_id == version.adapter_id, Swap.finished_at_ms.is_(None))
    splits = select(Split.arms).where(Split.adapter_id == version.adapter_id, Split.ended_at_ms.is_(None))
    return (
        session.scalars(aliases).first() is not None
        or session.scalars(swaps).first() is not None
        or any(version.id == id_ for arms in session.scalars(splits) for id_, _ in arms)
    )
