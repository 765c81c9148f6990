"""`switchyard trainer`: takes fine-tuning jobs and carries them out."""

from __future__ import annotations

import signal
from types import FrameType

import typer

from switchyard.console import say


def trainer(
    once: bool = typer.Option(False, "--once", help="End when no job waits any more."),
) -> None:
    """Take fine-tuning jobs, one to check and one to train at a time; Ctrl-C and SIGTERM save what trains."""
    from gateway.settings import GatewaySettings
    from registry.service import Registry
    from trainer.jobs.executors import LocalExecutor
    from trainer.jobs.settings import TrainerSettings
    from trainer.jobs.worker import Worker

    settings = TrainerSettings()
    if settings.trainer_gateway is None:
        settings = settings.model_copy(update={"trainer_gateway": GatewaySettings().url})
    with Registry.open(settings) as registry:
        registry.load()
        executor = LocalExecutor(settings.threads, settings.trainer_niceness)
        worker = Worker(registry, settings, executor, lambda text: say(*text.split("\n"), err=True))

        def stop(_number: int, _frame: FrameType | None) -> None:
            worker.stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, stop)
        say(f"trainer: {settings.threads} threads, state in {settings.state_dir}", err=True)
        worker.run(until_idle=once)
