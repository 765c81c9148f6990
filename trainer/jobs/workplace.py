"""What a worker works with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from registry.service import Registry
from telemetry.spans import Begins
from trainer.jobs.executors import Executor
from trainer.jobs.settings import TrainerSettings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Workplace:
    """Of one process. `stopping` is set when it is to end."""

    registry: Registry
    settings: TrainerSettings
    executor: Executor
    worker: str
    stopping: threading.Event
    say: Say
    tracing: Begins | None = None
    """Where jobs are told as spans; `None`: nowhere."""
