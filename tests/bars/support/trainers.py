"""Workers of the trainer as processes that can be killed, and jobs on the tiny base for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from registry.names import parse_ref
from registry.service import Registry
from registry.training.jobs import JobOrder, TrainingJob
from tests.live.installation import ROOT
from tests.support.tiny_base import write_tiny_base
from tests.support.training_jobs import chat_rows
from tests.support.waiting import wait_until
from trainer.jobs.settings import TrainerSettings

TENANT = "acme"
ROWS, STEPS, CHECKPOINT_STEPS = 60, 160, 40
LEASE_S = 3.0
LONGEST_S = 300.0
NOTHING: Mapping[str, str] = MappingProxyType({})
DIES_PUBLISHING = """
import os, signal
import registry.training.finishing as finishing
finishing._named = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from switchyard.command_line import main
import sys
sys.argv = ["switchyard", "trainer"]
main()
"""
"""A worker that is killed in the transaction in which its version gets its name."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """A registry with a tenant and the tiny base."""

    registry: Registry
    settings: TrainerSettings
    file: str

    def order(self, adapter: str) -> TrainingJob:
        """The same training each time, for another adapter. Its answers are long, so that evaluation takes a while."""
        options = {
            "evaluation": {"metric": "label_exact", "max_new_tokens": 120},
            "training": {"max_steps": STEPS, "learning_rate": 1e-2, "max_length_tokens": 128},
            "lora": {"dropout": 0.1},
        }
        order = JobOrder(
            TENANT, "tiny-llama", "tiny-llama", self.file, adapter=adapter, suffix=adapter, seed=11, options=options
        )
        return self.registry.training.create(order)

    def job(self, job: TrainingJob) -> TrainingJob:
        """As it stands."""
        return self.registry.training.get(None, job.id)

    def wait(self, what: str, job: TrainingJob, until: Callable[[TrainingJob], bool]) -> TrainingJob:
        """As it stands when that is so."""
        wait_until(what, lambda: until(self.job(job)), LONGEST_S)
        return self.job(job)

    def said(self, job: TrainingJob, text: str) -> bool:
        """Whether an event of it begins so."""
        events = self.registry.training.events(None, job.id, None, 1_000)
        return any(event.message.startswith(text) for event in events)

    def last_step(self, job: TrainingJob) -> int:
        """The last one that an event tells of; 0 when none does."""
        events = self.registry.training.events(None, job.id, None, 20)
        return max((event.data.get("step", 0) for event in events if event.type == "metrics"), default=0)

    def weights(self, job: TrainingJob) -> str:
        """Digest of the adapter's weights."""
        version = self.registry.adapters.get(parse_ref(f"{TENANT}/{job.adapter}@1.0"))
        layers = self.registry.blobs.get_manifest(version.manifest_digest)["layers"]
        return next(str(layer["digest"]) for layer in layers if "weight" in layer["mediaType"])


@contextmanager
def workshop(folder: Path) -> Iterator[Workshop]:
    """In a new folder."""
    settings = TrainerSettings(
        state_dir=folder / "state",
        trainer_lease_s=LEASE_S,
        trainer_poll_s=0.1,
        trainer_checkpoint_steps=CHECKPOINT_STEPS,
        trainer_threads=1,
        trainer_niceness=0,  # beside other tests one that yields to all of them comes no further
    )
    with Registry.open(settings) as registry:
        registry.tenants.create(TENANT)
        registry.bases.adopt(write_tiny_base(folder / "tiny-llama"))
        file = registry.files.create(TENANT, "rows.jsonl", "fine-tune", [chat_rows(ROWS).encode()])
        yield Workshop(registry, settings, file.id)


@contextmanager
def worker_process(
    settings: TrainerSettings, log: Path, *command: str, more: Mapping[str, str] = NOTHING
) -> Iterator[subprocess.Popen[bytes]]:
    """`switchyard trainer`, or the program that is given, with `more` in its environment; told to end at the end of the
    block, if it is still there.
    """
    given = {
        "STATE_DIR": settings.state_dir,
        "TRAINER_LEASE_S": settings.trainer_lease_s,
        "TRAINER_POLL_S": settings.trainer_poll_s,
        "TRAINER_CHECKPOINT_STEPS": settings.trainer_checkpoint_steps,
        "TRAINER_THREADS": settings.trainer_threads,
        "TRAINER_NICENESS": settings.trainer_niceness,
    }
    environment = {**os.environ, **{f"SWITCHYARD_{name}": str(value) for name, value in given.items()}, **more}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "switchyard", "trainer"))],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=out,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(LONGEST_S)
