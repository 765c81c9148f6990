"""What a trainer's worker can be told, by `SWITCHYARD_*` or `switchyard.toml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from registry.errors import InvalidInput
from registry.listed import Names, listed
from registry.money import dollars_to_nano
from registry.settings import RegistrySettings
from registry.training.leases import MOST_LEASE_S
from telemetry.settings import TelemetrySettings


class TrainerSettings(RegistrySettings, TelemetrySettings):
    """Of `switchyard trainer`."""

    trainer_bases: Annotated[list[Path], NoDecode, BeforeValidator(listed)] = Field(
        default=[],
        description="More folders of base models, with commas between them; those in state_dir/base are known anyway.",
    )
    trainer_folder: Path | None = Field(
        default=None, description="Folder for running jobs and their checkpoints; default: state_dir/trainer."
    )
    trainer_threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Threads that a training computes with. Default: half of the processors, for an engine beside it "
        "needs the others.",
    )
    trainer_niceness: int = Field(
        default=10, ge=0, le=19, description="How much a training yields to other processes; 19 is most."
    )
    trainer_lease_s: float = Field(
        default=60.0,
        ge=3,
        le=MOST_LEASE_S,
        description="After so long without a word of a worker another one takes its job.",
    )
    trainer_checkpoint_s: float = Field(
        default=60.0, ge=1, le=86_400, description="Pause between two checkpoints of a training."
    )
    trainer_checkpoint_steps: int | None = Field(
        default=None, ge=1, description="Also a checkpoint after every so many steps."
    )
    trainer_stop_grace_s: float = Field(
        default=60.0, ge=1, le=3600, description="How long a training that is to stop may take for its last checkpoint."
    )
    trainer_silence_s: float = Field(
        default=3600.0,
        ge=1,
        le=604_800,
        description="A training that has said nothing for so long is ended, and its job has failed. Longer than "
        "its longest step, and than loading the largest base.",
    )
    trainer_check_s: float = Field(
        default=1800.0,
        ge=1,
        le=604_800,
        description="How long checking and quoting one job may take; then it has failed. Others wait meanwhile.",
    )
    trainer_most_s: float = Field(
        default=604_800.0,
        ge=1,
        le=31_536_000,
        description="How long one job may be trained, on all workers together; then it has failed. An order may say "
        "less (switchyard.max_seconds).",
    )
    trainer_verdict_s: float = Field(
        default=3600.0,
        ge=1,
        le=604_800,
        description="How long comparing a job's result with the version in production may take, before there is none.",
    )
    trainer_executor: Literal["local", "ray"] = Field(
        default="local", description="Where jobs are worked on: on this machine, or on nodes of a Ray cluster."
    )
    trainer_ray_address: str = Field(
        default="auto",
        min_length=1,
        description="The Ray cluster: HOST:PORT of its head, where this machine is one of its nodes, ray://HOST:10001 "
        "where it is not, or auto: RAY_ADDRESS, else the cluster that this machine is part of.",
    )
    trainer_ray_gpus: float = Field(
        default=0.0, ge=0, le=64, description="GPUs of one node that a job gets, beside SWITCHYARD_TRAINER_THREADS."
    )
    trainer_ray_folder: Path = Field(
        default=Path("~/.cache/switchyard-trainer"),
        description="Folder on each node for running jobs and for copies of at most four bases.",
    )
    trainer_gateway: str | None = Field(
        default=None,
        description="URL of a gateway by which a job's result is compared with the version in production, where the "
        "order or a gate asks for it. Default: the one of SWITCHYARD_HOST and _PORT.",
    )
    trainer_hour_dollars: str | None = Field(
        default=None, description="What an hour of this machine costs, for quotes. Default: they have no cost."
    )
    trainer_api_dollars: Annotated[Names, Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Dollars per million tokens that an API reads and writes, with a comma between them: quotes say "
        "after how many requests a training has paid for itself against it, where the base has a tariff here.",
    )
    trainer_poll_s: float = Field(default=1.0, ge=0.05, le=60, description="Pause between two looks for a job.")

    @field_validator("trainer_hour_dollars", "trainer_api_dollars")
    @classmethod
    def _dollars(cls, given: Any, info: ValidationInfo) -> Any:
        for part in [given] if isinstance(given, str) else given or ():
            try:
                dollars_to_nano(part, str(info.field_name))
            except InvalidInput as error:
                raise ValueError(error.message) from None
        return given

    @property
    def threads(self) -> int:
        """In force."""
        return self.trainer_threads or max(1, len(os.sched_getaffinity(0)) // 2)

    @property
    def jobs_folder(self) -> Path:
        """In force."""
        return (self.trainer_folder or self.state_dir / "trainer").absolute()
