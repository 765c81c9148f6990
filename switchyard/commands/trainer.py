"""`switchyard trainer`: takes fine-tuning jobs and carries them out."""

from __future__ import annotations

import logging
import os
import signal
import socket
from types import FrameType
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from trainer.jobs.executors import Executor
    from trainer.jobs.settings import TrainerSettings


log = logging.getLogger("switchyard.trainer")


def trainer(
    once: bool = typer.Option(False, "--once", help="End when no job waits any more."),
    executor: str | None = typer.Option(
        None,
        help="local: jobs are worked on here; ray: on nodes of a Ray cluster. Default: SWITCHYARD_TRAINER_EXECUTOR.",
    ),
    ray_address: str | None = typer.Option(
        None, help="The cluster's HOST:PORT, ray://HOST:10001 or auto. Default: SWITCHYARD_TRAINER_RAY_ADDRESS."
    ),
) -> None:
    """Take fine-tuning jobs, one to check and one to train at a time; Ctrl-C and SIGTERM save what trains."""
    from gateway.settings import GatewaySettings
    from registry.service import Registry
    from registry.words import many
    from telemetry.logs import log_to_stderr
    from telemetry.tracing import tracing_of
    from trainer.jobs.settings import TrainerSettings
    from trainer.jobs.worker import Worker
    from trainer.mlflow_registry import check_registry

    given = {"trainer_executor": executor, "trainer_ray_address": ray_address}
    settings = TrainerSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    if settings.trainer_gateway is None:
        settings = settings.model_copy(update={"trainer_gateway": GatewaySettings().url})
    check_registry(settings)
    log_to_stderr(settings)
    tracing = tracing_of(settings, "switchyard-trainer", f"{socket.gethostname()}-{os.getpid()}")
    with Registry.open(settings) as registry:
        registry.load()
        worker = Worker(registry, settings, executor_of(settings), lambda text: log.info("%s", text), tracing)

        def stop(_number: int, _frame: FrameType | None) -> None:
            worker.stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, stop)
        place = f", on Ray at {settings.trainer_ray_address}" if settings.trainer_executor == "ray" else ""
        log.info("trainer: %s%s, state in %s", many(settings.threads, "thread"), place, settings.state_dir)
        try:
            worker.run(until_idle=once)
        finally:
            if tracing is not None:
                tracing.close()


LEAST_PATIENCE_S = 30.0
"""Without a word from its worker, after which a node ends what it works on."""


def executor_of(settings: TrainerSettings) -> Executor:
    """Where the settings want jobs to be worked on. Raises TrainerError when what that needs is not installed."""
    if settings.trainer_executor == "local":
        from trainer.jobs.executors import LocalExecutor

        return LocalExecutor(settings.threads, settings.trainer_niceness)
    from trainer.jobs.on_ray.executor import RayExecutor
    from trainer.jobs.on_ray.placing import Placing

    return RayExecutor(
        Placing(
            settings.trainer_ray_address,
            settings.threads,
            settings.trainer_ray_gpus,
            settings.trainer_niceness,
            str(settings.trainer_ray_folder),
            max(LEAST_PATIENCE_S, settings.trainer_lease_s),
        )
    )
