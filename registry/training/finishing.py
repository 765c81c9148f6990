"""A job that has succeeded: its version, the name of that, and the end of the job, all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from registry.adapters.version_rows import VersionInfo
from registry.db import now_ms
from registry.tenants.actions import PROGRAM, record_action
from registry.tenants.rows import ModelMap
from registry.training.jobs import Publication, TrainingJob
from registry.training.keeping import add_event, end
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
        add_event(session, row, "info", f"New fine-tuned model created: {row.fine_tuned_model} ({version.name})")
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
