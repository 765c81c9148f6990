"""Runs a module of ours and notes where its processor time goes, as what a command runs under:
`python -m tests.bars.support.sampled FILE python -m MODULE …`.

Each millisecond of processor time a signal looks at the stack of the main thread; that costs a hundredth, where a
profiler that is told of each call makes small functions look twice as dear as they are. `BEGIN` forgets what was
noted, `WRITE` puts it into the file: samples by where they were. Time of other threads is noted at whatever the main
thread does then.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

ROOT = f"{Path(__file__).parents[3]}{os.sep}"
EVERY_S = 0.001
BEGIN, WRITE = signal.SIGUSR1, signal.SIGUSR2
BETWEEN = "the event loop"
"""Where none of ours runs: reading, writing, and waking tasks."""


class Samples:
    """Of this process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: Counter[str] = Counter()

    def take(self, _number: int, frame: FrameType | None) -> None:
        """Note the innermost function that is ours; what it calls of others is its own."""
        self._found[where(frame)] += 1

    def begin(self, _number: int, _frame: FrameType | None) -> None:
        """Forget what was noted."""
        self._found.clear()

    def write(self, _number: int, _frame: FrameType | None) -> None:
        """Put it into the file, whole or not at all."""
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._found))
        new.rename(self._file)


def where(frame: FrameType | None) -> str:
    """`file:function`, of ours or of uvicorn, which has the connection."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(ROOT) and "/site-packages/" not in name and name != __file__:
            return f"{name.removeprefix(ROOT)}:{frame.f_code.co_qualname}"
        if "/uvicorn/protocols/" in name:
            return f"uvicorn:{frame.f_code.co_qualname}"
        frame = frame.f_back
    return BETWEEN


def main() -> None:
    """The command line."""
    samples = Samples(Path(sys.argv[1]))
    module_at = sys.argv.index("-m") + 1
    signal.signal(signal.SIGPROF, samples.take)
    signal.signal(BEGIN, samples.begin)
    signal.signal(WRITE, samples.write)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    sys.argv = sys.argv[module_at:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
