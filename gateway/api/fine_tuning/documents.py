"""Jobs, events and checkpoints in OpenAI's shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from registry.catalog.snapshot import Catalog
from registry.training.jobs import JobCheckpoint, JobEvent, TrainingJob

T = TypeVar("T")
AUTO = "auto"
SHOWN = ("n_epochs", "batch_size", "learning_rate_multiplier")
"""Hyperparameters that every job has."""


def job_document(job: TrainingJob, catalog: Catalog) -> dict[str, Any]:
    """A `fine_tuning.job`; what OpenAI has no field for is in `switchyard`."""
    order = job.order
    shown = {name: job.hyperparameters.get(name, AUTO) for name in SHOWN}
    in_force = {**shown, **({"beta": AUTO} if order.method == "dpo" else {}), **job.hyperparameters}
    version = None if job.version_id is None else catalog.versions_by_id.get(job.version_id)
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_at_ms // 1000,
        "error": None if job.error is None else asdict(job.error),
        "fine_tuned_model": job.fine_tuned_model,
        "finished_at": _seconds(job.finished_at_ms),
        "hyperparameters": shown,
        "model": order.model,
        "organization_id": job.tenant,
        "result_files": list(job.result_files),
        "seed": order.seed,
        "status": job.status,
        "trained_tokens": job.trained_tokens,
        "training_file": order.training_file,
        "validation_file": order.validation_file,
        "estimated_finish": _seconds(job.estimated_finish_ms),
        "integrations": list(order.integrations),
        "metadata": order.metadata,
        "method": {"type": order.method, order.method: {"hyperparameters": in_force}},
        "user_provided_suffix": order.suffix,
        "switchyard": {
            "adapter": f"{job.tenant}/{job.adapter}",
            "base": order.base,
            "continues": order.continues,
            "version": None if version is None else version.name,
            "options": order.options,
            "facts": job.facts,
        },
    }


def event_document(event: JobEvent) -> dict[str, Any]:
    """A `fine_tuning.job.event`."""
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": event.created_at_ms // 1000,
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": event.data,
    }


def checkpoint_document(job: TrainingJob, checkpoint: JobCheckpoint) -> dict[str, Any]:
    """A `fine_tuning.job.checkpoint`."""
    return {
        "id": checkpoint.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": checkpoint.created_at_ms // 1000,
        "fine_tuned_model_checkpoint": f"{job.model_name()}:ckpt-step-{checkpoint.step}",
        "fine_tuning_job_id": job.id,
        "step_number": checkpoint.step,
        "metrics": {"step": checkpoint.step, **checkpoint.metrics},
    }


def page_document(found: Sequence[T], limit: int, document: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A page of at most `limit`; one more was asked for, to know whether there are more."""
    data = [document(one) for one in found[:limit]]
    return {"object": "list", "data": data, "has_more": len(found) > limit}


def _seconds(ms: int | None) -> int | None:
    return None if ms is None else ms // 1000
