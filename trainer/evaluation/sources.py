"""Where the rows of an evaluation come from: a file here, one of the tenant's at /v1/files, or what the version's own
job held out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from registry.adapters.version_rows import VersionInfo
from registry.service import Registry
from registry.training.jobs import TrainingJob
from trainer.errors import EvaluationError
from trainer.evaluation.judging import write_questions
from trainer.evaluation.rows import EvaluationSet, read_rows

FILE_ID = "file-"
JOBS_AT_ONCE = 100
MOST_JOBS = 10_000
"""Of a tenant, newest first, that are looked through for the one that made a version."""


def rows_for(registry: Registry, version: VersionInfo, data: str | None, most: int) -> EvaluationSet:
    """The first `most` rows of what `data` names: a path, or the id of a file of the tenant's; None: those that were
    held out when the version was trained.

    Raises DataError, EvaluationError, and `NotFound` for an id that is no file.
    """
    if data is None:
        return _held_out(registry, version, most)
    path = Path(data)
    if not data.startswith(FILE_ID) or path.exists():
        return read_rows(path, most)
    with _folder() as folder:
        copy = folder / data.replace("/", "-")
        registry.files.copy_for_job(version.tenant, data, copy)
        return replace(read_rows(copy, most), name=data)


def _held_out(registry: Registry, version: VersionInfo, most: int) -> EvaluationSet:
    from trainer.data.sets import read_sets
    from trainer.recipe import read_recipe

    job, recipe = _job_of(registry, version), version.lineage.get("recipe")
    if job is None or not isinstance(recipe, str):
        raise EvaluationError(
            f"{version.name} was made by no job here, so its held-out rows are not known; name a file with --data"
        )
    with _folder() as folder:
        (folder / "RECIPE.toml").write_text(recipe, encoding="utf-8")
        registry.files.copy_for_job(job.tenant, job.order.training_file, folder / "train.jsonl")
        if job.order.validation_file is not None:
            registry.files.copy_for_job(job.tenant, job.order.validation_file, folder / "heldout.jsonl")
        heldout = read_sets(read_recipe(folder / "RECIPE.toml")).heldout
        if heldout.digest != version.lineage.get("heldout_sha256"):
            raise EvaluationError(
                f"the held-out rows of {version.name} cannot be had again as they were; name a file with --data"
            )
        questions = folder / "questions.jsonl"
        write_questions(heldout.examples, questions)
        return replace(read_rows(questions, most), name=f"held out by {job.id}")


def _job_of(registry: Registry, version: VersionInfo) -> TrainingJob | None:
    after: str | None = None
    for _ in range(MOST_JOBS // JOBS_AT_ONCE):
        jobs = registry.training.page(version.tenant, after, JOBS_AT_ONCE)
        found = next((job for job in jobs if job.version_id == version.id), None)
        if found is not None or len(jobs) < JOBS_AT_ONCE:
            return found
        after = jobs[-1].id
    return None


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="switchyard-evaluate-") as folder:
        yield Path(folder)
