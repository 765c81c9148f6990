"""A job as callers see it: values that any thread may hold, and what can be wrong with asking for one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from registry.errors import InvalidInput, NotFound, RegistryError
from registry.names import MAX_NAME_LENGTH

Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled", "paused"]
Going = Literal["queued", "running"]
"""Where a worker may bring a job."""
Ended = Literal["succeeded", "failed", "cancelled"]
Work = Literal["validate", "train"]
Wish = Literal["cancel", "pause", "resume"]
Wanted = Literal["run", "cancel", "pause"]
Level = Literal["info", "warn", "error"]
EventType = Literal["message", "metrics"]
FINAL: tuple[Ended, ...] = ("succeeded", "failed", "cancelled")
STATES_FOLDER = "training"
"""Of the blob store: below it each job has a folder with its checkpoints."""
SHORT_ID_CHARS = 8
"""Of a job's id, that end the name of its model."""


def adapter_name(suffix: str) -> str | None:
    """The adapter that a suffix names: lower case, letters without their accents, `-` for what a name cannot have;
    `None` if nothing is left.
    """
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", suffix) if not unicodedata.combining(sign))
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:MAX_NAME_LENGTH].rstrip("-")
    return slug or None


@dataclass(frozen=True, slots=True)
class JobOrder:
    """What a tenant asks for: checked, with names that are known."""

    tenant: str
    model: str
    """As the client called it."""
    base: str
    """The public name of the base model."""
    training_file: str
    validation_file: str | None = None
    continues: str | None = None
    """`tenant/adapter@version` that training goes on from; `None`: from the base."""
    method: Literal["supervised", "dpo"] = "supervised"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """Each a number or `auto`."""
    adapter: str | None = None
    """Which adapter the result is a version of; `None`: one that is called as the job's id."""
    suffix: str | None = None
    seed: int | None = None
    """`None`: one is drawn."""
    metadata: Mapping[str, str] | None = None
    integrations: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """What goes beyond OpenAI's: sections of the recipe and such."""
    idempotency_key: str | None = None
    """Of the same key there is one job."""


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed. `code` is stable; `param` is the field of the order that is to blame, if one is."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A job as it stands."""

    id: str
    tenant: str
    created_at_ms: int
    status: Status
    order: JobOrder
    """With its seed and its adapter."""
    hyperparameters: Mapping[str, Any]
    """In force: as ordered, until a worker has put numbers where `auto` was."""
    started_at_ms: int | None
    finished_at_ms: int | None
    estimated_finish_ms: int | None
    trained_tokens: int | None
    fine_tuned_model: str | None
    version_id: int | None
    result_files: tuple[str, ...]
    error: JobError | None
    facts: Mapping[str, Any]
    worker: str | None
    """Who has it now."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.status in FINAL

    @property
    def adapter(self) -> str:
        """The adapter that the result is a version of."""
        return self.order.adapter or self.id

    def model_name(self, short_id: str | None = None) -> str:
        """`ft:BASE:TENANT:SUFFIX:ID`, the name of what comes out of it."""
        named = "" if self.adapter == self.id else self.adapter
        return f"ft:{self.order.base}:{self.tenant}:{named}:{short_id or self.id[-SHORT_ID_CHARS:]}"


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One thing that happened."""

    id: str
    created_at_ms: int
    level: Level
    message: str
    type: EventType
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JobCheckpoint:
    """A state that training can go on from, as long as its `blob` is there."""

    id: str
    created_at_ms: int
    step: int
    metrics: Mapping[str, Any]
    blob: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a worker has now, until its lease ends."""

    job: TrainingJob
    work: Work
    attempt: int
    """1 when it is taken up for the first time, or since it last came further."""
    checkpoint: JobCheckpoint | None
    """The newest one that has its bytes."""


class Facts(TypedDict, total=False):
    """What a worker may say of a job as it goes on."""

    hyperparameters: Mapping[str, Any]
    """With numbers where `auto` was."""
    estimated_finish_ms: int | None
    trained_tokens: int
    detail: Mapping[str, Any]
    """Added to `TrainingJob.facts` by key; at most `MOST_DETAIL_BYTES` in all."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What becomes the next version of the job's adapter."""

    folder: Path
    """In PEFT's format, with its effect proof."""
    lineage: Mapping[str, Any]
    declared_base: str | None = None
    """Digest of the base that it was trained on."""


class NoSuchJob(NotFound):
    """There is no such job, or it is not this tenant's."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"there is no fine-tuning job {id_[:80]!r}", param="fine_tuning_job_id")
        self.id = id_


class JobHasEnded(InvalidInput):
    """What has ended cannot be cancelled, paused or resumed."""


class KeyOfAnotherOrder(InvalidInput):
    """An idempotency key stands for one order, and this is another one."""


class NotOfAJob(RegistryError):
    """A model name that an operator has given, and no job."""


class TooManyJobs(RegistryError):
    """The tenant has as many unfinished jobs as it may."""


class LeaseLost(RegistryError):
    """The job is not this worker's any more: nothing was written, and what it does for it is to stop."""
