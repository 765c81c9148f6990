"""Folders of jobs on the tiny base, and children that work in them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.training.jobs import JobOrder
from trainer.jobs.folder import Assignment, JobFolder
from trainer.jobs.lines import Line, Saved, of_line

CHILD_TIMEOUT_S = 120.0


def chat_rows(count: int, answer: str = "B") -> str:
    """Rows of OpenAI's form, each with another question."""
    rows = [
        {"messages": [{"role": "user", "content": f"word {i}"}, {"role": "assistant", "content": answer + str(i % 3)}]}
        for i in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def order(*, hyperparameters: Mapping[str, Any] | None = None, **options: Any) -> JobOrder:
    """An order of `acme` with a rate that moves the tiny base, for the adapter `tuned`."""
    options = {"training": {"learning_rate": 1e-2, "max_length_tokens": 128}, **options}
    return JobOrder(
        tenant="acme",
        model="tiny",
        base="tiny-llama",
        training_file="file-1",
        hyperparameters=hyperparameters or {"n_epochs": 3, "batch_size": 4},
        adapter="tuned",
        seed=7,
        options=options,
    )


def assigned(base: Path, path: Path, *, rows: str, wanted: JobOrder | None = None, **more: Any) -> JobFolder:
    """A folder that a child can validate in."""
    folder = JobFolder(path)
    folder.make()
    folder.train.write_text(rows)
    more = {"work": "validate", "checkpoint_s": 1e9, **more}
    Assignment("ftjob-1", order=wanted or order(), base_folder=str(base), base_digest="sha256:0", **more).write(path)
    return folder


def assign(folder: JobFolder, **changes: Any) -> None:
    """Give it other work."""
    replace(Assignment.read(folder.path), **changes).write(folder.path)


@contextmanager
def child(folder: JobFolder) -> Iterator[subprocess.Popen[str]]:
    """A real one, killed at the end of the block if it is still there."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder.scratch)}
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer.jobs.child", str(folder.path)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=CHILD_TIMEOUT_S)


def run_child(
    folder: JobFolder, on_line: Callable[[Line, subprocess.Popen[str]], None] | None = None
) -> tuple[int, list[Line]]:
    """Its exit status and all that it said; `on_line` may do something meanwhile."""
    said: list[Line] = []
    with child(folder) as process:
        assert process.stdout is not None
        for text in process.stdout:
            line = of_line(text)
            assert line is not None, text
            said.append(line)
            if on_line is not None:
                on_line(line, process)
        return process.wait(CHILD_TIMEOUT_S), said


def stop_at(step: int) -> Callable[[Line, subprocess.Popen[str]], None]:
    """Send SIGTERM when the checkpoint of a step is complete."""

    def on_line(line: Line, process: subprocess.Popen[str]) -> None:
        if isinstance(line, Saved) and line.step == step:
            process.send_signal(signal.SIGTERM)

    return on_line


def resume(folder: JobFolder, step: int) -> None:
    """As a worker does that has taken a job over: the checkpoint lies where the next child looks for it."""
    (folder.checkpoints / f"step-{step}").rename(folder.resume)
    assign(folder, resumes=True)


def weights_digest(folder: JobFolder) -> str:
    """Of the adapter that a child left."""
    return hashlib.sha256((folder.out / "adapter_model.safetensors").read_bytes()).hexdigest()
