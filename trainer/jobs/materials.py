"""What a child needs, brought from the registry into its folder: rows, base, recipe, checkpoint, adapter."""

from __future__ import annotations

import shutil
from pathlib import Path

from registry.errors import CorruptBlob, NotFound
from registry.names import parse_ref
from registry.service import Registry
from registry.tenant_files.infos import NoSuchFile
from registry.training.jobs import Claim, JobOrder
from trainer.jobs.folder import QUOTE, Assignment, JobFolder
from trainer.jobs.lines import Failed
from trainer.jobs.quoting import prices_of
from trainer.jobs.settings import TrainerSettings
from trainer.jobs.states import TornState, get_state

RECIPE = "recipe"
"""Its key in a job's facts."""

NO_INTEGRATION = Failed(
    "integration_not_offered",
    "the job asks for Weights & Biases, and the worker that took it has no entity for it (SWITCHYARD_WANDB_ENTITY); "
    "order it without integrations",
    "integrations",
)


class CannotBegin(Exception):
    """A job has failed before its child was started."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


def lay_out(registry: Registry, settings: TrainerSettings, claim: Claim, folder: JobFolder) -> Assignment:
    """Fill the folder of a job that was claimed. Raises `CannotBegin`; `StorageFailed` and `OSError` of the machine."""
    order = claim.job.order
    if order.integrations and settings.wandb_entity is None:
        raise CannotBegin(NO_INTEGRATION)
    folder.make()
    _copy(registry, order, order.training_file, "training_file", folder.train)
    if order.validation_file is not None:
        _copy(registry, order, order.validation_file, "validation_file", folder.heldout)
    digest, base_folder = _base(registry, settings, order)
    if order.continues is not None:
        _lay_out_start(registry, order, digest, folder.start)
    resumes = False
    if claim.work == "train":
        folder.recipe.write_text(str(claim.job.facts[RECIPE]), encoding="utf-8")
        resumes = _lay_out_state(registry, claim, folder)
    assignment = Assignment(
        claim.job.id,
        claim.work,
        order,
        str(base_folder),
        digest,
        continues=order.continues is not None,
        resumes=resumes,
        checkpoint_s=settings.trainer_checkpoint_s,
        checkpoint_steps=settings.trainer_checkpoint_steps,
        most_rank=settings.max_lora_rank,
        quoted=claim.job.facts.get(QUOTE, {}),
        prices=prices_of(registry, settings, order.base),
        wandb_entity=settings.wandb_entity,
    )
    assignment.write(folder.path)
    return assignment


def _copy(registry: Registry, order: JobOrder, file: str, param: str, target: Path) -> None:
    try:
        registry.files.copy_for_job(order.tenant, file, target)
    except NoSuchFile:
        text = f"{param} {file} is not there any more; upload it again, and order the job anew"
        raise CannotBegin(Failed(f"invalid_{param}", text, param)) from None
    except CorruptBlob:
        text = f"{param} {file} is not what was uploaded any more; upload it again, and order the job anew"
        raise CannotBegin(Failed(f"invalid_{param}", text, param)) from None


def _base(registry: Registry, settings: TrainerSettings, order: JobOrder) -> tuple[str, Path]:
    """Its digest and a folder of this machine that holds it."""
    try:
        digest = registry.bases.get(order.base).digest
    except NotFound:
        text = f"the base {order.base!r} is not registered any more; order a job on another one"
        raise CannotBegin(Failed("model_not_found", text, "model")) from None
    known = registry.base_folder(digest) or next(registry.bases.folders_of(digest, settings.trainer_bases), None)
    if known is None:
        text = (
            f"the worker that took the job has no copy of the base {order.base!r}; its operator names the folder in "
            "SWITCHYARD_TRAINER_BASES, then order the job again"
        )
        raise CannotBegin(Failed("base_model_unavailable", text, "model"))
    return digest, known


def _lay_out_start(registry: Registry, order: JobOrder, base_digest: str, target: Path) -> None:
    ref = parse_ref(str(order.continues), tenant=order.tenant)
    try:
        version = registry.adapters.get(ref)
    except NotFound:
        text = f"{order.continues} is not there any more; choose another version to go on from"
        raise CannotBegin(Failed("model_not_found", text, "model")) from None
    if version.base_digest != base_digest:
        text = f"{order.continues} is an adapter of another base than {order.base!r}; order the job on its base"
        raise CannotBegin(Failed("model_not_found", text, "model"))
    shutil.copytree(registry.version_files.materialise(version.manifest_digest), target)


def _lay_out_state(registry: Registry, claim: Claim, folder: JobFolder) -> bool:
    """Whether there is a checkpoint to go on from. One that is torn or gone is passed over: training begins anew."""
    state = claim.checkpoint
    if state is None or state.blob is None:
        return False
    try:
        get_state(registry.blobs, state.blob, folder.resume, folder.scratch)
    except (NotFound, TornState):
        shutil.rmtree(folder.resume, ignore_errors=True)
        return False
    return True
