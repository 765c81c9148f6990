"""`make up` twice in a fresh clone, to the first answer."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from tests.live.installation import ROOT

FIRST_ANSWER_LIMIT_S, SECOND_ANSWER_LIMIT_S = 480, 100


def run(folder: Path, scale: float) -> dict[str, Any]:
    """A stranger's first and second `make up`, in a clone of what is committed."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    first_s, second_s = _make_up(clone, folder / "first.log"), _make_up(clone, folder / "second.log")
    return {
        "figures": {"first_answer_s": round(first_s, 1), "second_start_s": round(second_s, 1)},
        "bars": {},
        "speed": {
            f"first adapter answer within {FIRST_ANSWER_LIMIT_S} s": first_s <= FIRST_ANSWER_LIMIT_S,
            f"second within {SECOND_ANSWER_LIMIT_S} s": second_s <= SECOND_ANSWER_LIMIT_S,
        },
    }


def _make_up(clone: Path, log: Path) -> float:
    """Seconds from the command to the first adapter's answer; then Ctrl-C, after which nothing may be left."""
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "up"], cwd=clone, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        while "answer " not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() - began > 900:
                raise RuntimeError(f"make up failed: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        took = time.monotonic() - began
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    left = [survivor for survivor in family if survivor.is_running() and survivor.status() != psutil.STATUS_ZOMBIE]
    if left:
        raise RuntimeError(f"left running after Ctrl-C: {left}")
    return took
