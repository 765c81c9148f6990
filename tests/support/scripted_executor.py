"""Scripts for children of a trainer's worker, and the executor that starts such children."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trainer.jobs.executors import LocalChild, Running
from trainer.jobs.folder import Assignment, JobFolder

Script = list[dict[str, Any]]
FINISHED: dict[str, Any] = {"say": {"say": "finished", "facts": {"train_rows": 10}, "trained_tokens": 1_234}}
VALID: Script = [
    {"say": {"say": "event", "message": "2 of 12 rows are held out"}},
    {"say": {"say": "prepared", "recipe": "[adapter]\n", "hyperparameters": {"n_epochs": 3}}},
    {"say": {"say": "finished", "facts": {"train_rows": 10}}},
]
TRAINED: Script = [{"metrics": 1}, {"checkpoint": 1}, {"metrics": 2}, {"checkpoint": 2}, {"leave": 1}, FINISHED]


@dataclass
class ScriptedExecutor:
    """Starts such children: of the n-th one the n-th script. `seen` is what each was given."""

    scripts: list[Script]
    seen: list[Assignment] = field(default_factory=list)
    resumed: list[str | None] = field(default_factory=list)
    children: list[LocalChild] = field(default_factory=list)
    prepared: int = 0
    oom_kills: Callable[[], int | None] = lambda: None
    """Counts what the kernel has ended for want of memory."""

    def prepare(self) -> None:
        self.prepared += 1

    def dismiss(self) -> None:
        self.prepared = 0

    def start(self, folder: JobFolder) -> Running:
        self.seen.append(Assignment.read(folder.path))
        state = folder.resume / "state.txt"
        self.resumed.append(state.read_text() if state.exists() else None)
        (folder.path / "script.json").write_text(json.dumps(self.scripts.pop(0)))
        with folder.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.scripted_child", str(folder.path)],
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        child = LocalChild(process, self.oom_kills)
        self.children.append(child)
        return child
