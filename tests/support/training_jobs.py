"""Folders of jobs on the tiny base."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.training.jobs import JobOrder
from trainer.jobs.folder import Assignment, JobFolder


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


def resume(folder: JobFolder, step: int) -> None:
    """As a worker does that has taken a job over: the checkpoint lies where the next child looks for it."""
    (folder.checkpoints / f"step-{step}").rename(folder.resume)
    assign(folder, resumes=True)


def weights_digest(folder: JobFolder) -> str:
    """Of the adapter that a child left."""
    return hashlib.sha256((folder.out / "adapter_model.safetensors").read_bytes()).hexdigest()
