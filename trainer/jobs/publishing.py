"""What a job that has succeeded leaves: a version of its adapter, the name of that, and its result files."""

from __future__ import annotations

import json
from pathlib import Path

from registry.service import Registry
from registry.storage.blobs import digest_of
from registry.tenant_files.infos import RESULTS
from registry.training.jobs import Publication, TrainingJob
from trainer.jobs.folder import JobFolder

LOOKED_AT = 100
"""The tenant's newest result files: of a worker that died after it had stored them they are not stored again."""


def results_of(registry: Registry, job: TrainingJob, folder: JobFolder) -> list[str]:
    """Ids of the job's result files: the CSV of its steps first, then the picture. Raises `StorageFailed`."""
    known = {
        (info.filename, info.digest): info.id
        for info in registry.files.page(job.tenant, None, LOOKED_AT, purpose=RESULTS).files
    }
    return [_stored(registry, job, file, known) for file in (folder.results, folder.curve) if file.is_file()]


def _stored(registry: Registry, job: TrainingJob, file: Path, known: dict[tuple[str, str], str]) -> str:
    name, data = f"{job.id}-{file.name}", file.read_bytes()
    found = known.get((name, digest_of(data)))
    return found or registry.files.create(job.tenant, name, RESULTS, [data]).id


def publish(
    registry: Registry, of: tuple[str, str], folder: JobFolder, files: list[str], trained_tokens: int | None
) -> TrainingJob:
    """The adapter's next version, its name and the end of the job, in one transaction; `of` are job and worker.

    Raises `LeaseLost`, and what `Adapters.publish` raises.
    """
    lineage = json.loads(folder.lineage.read_bytes())
    publication = Publication(folder.out, lineage, lineage["base_digest"])
    return registry.training.finish(
        *of, "succeeded", publication=publication, trained_tokens=trained_tokens, result_files=files
    )
