"""A child of a trainer's worker that says what a script tells it, at once: a real process without torch.

`python -m tests.support.scripted_child FOLDER` does what `script.json` in the folder lists: `say` a line or `metrics`,
make a `checkpoint`, write what a finished training leaves (`leave`), `wait` for SIGTERM, `log`, `exit`, `kill` itself.

Tests start many of them, so it imports little, and numpy only where it writes an adapter.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from trainer.jobs.folder import Assignment, JobFolder


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
        from loadtest.folders import write_adapter
        from tests.support.adapter_folders import TinyBase

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
