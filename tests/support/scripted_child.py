"""A child of a trainer's worker that says what a script tells it, at once: a real process without torch.

`python -m tests.support.scripted_child FOLDER` does what `script.json` in the folder lists: `say` a line or `metrics`,
make a `checkpoint`, write what a finished training leaves (`leave`), `wait` for SIGTERM, `log`, `exit`, `kill` itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.folders import write_adapter
from tests.support.adapter_folders import TinyBase
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


def act(folder: JobFolder, action: dict[str, Any]) -> None:
    """One line of a script."""
    ((what, value),) = action.items()
    if what == "say":
        print(json.dumps(value), flush=True)
    elif what == "metrics":
        metrics = {"step": value, "total_steps": 2, "train_loss": 1 / value, "seconds_left": 5.0}
        print(json.dumps({"say": "metrics", "metrics": metrics}), flush=True)
    elif what == "checkpoint":
        made = folder.checkpoints / f"step-{value}"
        made.mkdir()
        (made / "state.txt").write_text(f"state {value}")
        print(
            json.dumps({"say": "checkpoint", "step": value, "folder": str(made), "metrics": {"step": value}}),
            flush=True,
        )
    elif what == "leave":
        write_adapter(folder.out, TinyBase().config, seed=value)
        digest = Assignment.read(folder.path).base_digest
        folder.lineage.write_text(json.dumps({"source": "train", "base_digest": digest}))
        folder.questions.write_text(
            "".join(json.dumps({"prompt": f"question {number}", "completion": " x"}) + "\n" for number in range(24))
        )
        folder.results.write_text("step,train_loss\n1,1.0\n")
        folder.curve.write_text("<?xml version='1.0'?><svg/>")
    elif what == "wait":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        print(json.dumps({"say": "event", "message": "waiting"}), flush=True)
        signal.sigwait([signal.SIGTERM])
    elif what == "log":
        print(value, file=sys.stderr, flush=True)
    elif what == "kill":
        os.kill(os.getpid(), value)
    elif what == "exit":
        os._exit(value)


if __name__ == "__main__":
    its = JobFolder(Path(sys.argv[1]))
    for one in json.loads((its.path / "script.json").read_text()):
        act(its, one)
