"""The file of a comparison: every answer and every verdict, so that a run which was interrupted goes on from it.

The first line says what is compared. A line is appended and synced as soon as it is known; half of one, which a kill
leaves at the end, is cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from registry.votes.store import Side
from trainer.data.faults import DataError, Fault
from trainer.endpoints.client import Reply
from trainer.evaluation.judge import PairVerdict

NOT_ONE = "is no file of a comparison; name another one with --run"


class RunFile:
    """Open to be added to, by one process; thread-safe. Made by `open_run`."""

    def __init__(self, file: Path, stream: IO[bytes]) -> None:
        self.file, self._stream = file, stream
        self._lock = threading.Lock()
        self._replies: dict[tuple[str, Side], Reply] = {}
        self._verdicts: dict[tuple[str, str], PairVerdict] = {}

    def reply(self, row: str, side: Side) -> Reply | None:
        """A side's answer to a prompt, if it was given already."""
        return self._replies.get((row, side))

    def verdict(self, pair: str, judge: str) -> PairVerdict | None:
        """What a judge said of a pair, if it was asked already."""
        return self._verdicts.get((pair, judge))

    @property
    def judges(self) -> list[str]:
        """Who has judged pairs in it."""
        return sorted({judge for _, judge in self._verdicts})

    def keep_reply(self, row: str, side: Side, reply: Reply) -> None:
        """Durably."""
        with self._lock:
            self._append({"answer": {"row": row, "side": side, **asdict(reply)}})
            self._replies[row, side] = reply

    def keep_verdict(self, pair: str, judge: str, verdict: PairVerdict) -> None:
        """Durably."""
        with self._lock:
            self._append({"verdict": {"pair": pair, "judge": judge, **asdict(verdict)}})
            self._verdicts[pair, judge] = verdict

    def begin(self, about: Mapping[str, Any]) -> None:
        """Read what is there, or write what is compared. Raises DataError for another comparison's file."""
        whole, newline, half = self._stream.read().rpartition(b"\n")
        lines = whole.split(b"\n") if newline else []
        if not lines and not b'{"comparison": '.startswith(half[:15]):
            raise DataError((str(self.file), [Fault(1, "no_comparison", NOT_ONE)]))
        for number, line in enumerate(lines, 1):
            try:
                self._take(number, json.loads(line), about)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as failed:
                raise DataError((str(self.file), [Fault(number, "no_comparison", NOT_ONE)])) from failed
        if half:  # only of a file that is one
            self._stream.truncate(len(whole) + len(newline))
        if not lines:
            self._append({"comparison": dict(about)})

    def _take(self, number: int, said: dict[str, Any], about: Mapping[str, Any]) -> None:
        if number == 1:
            found = said["comparison"]
            if found != about:
                names = ", ".join(name for name in about if found.get(name) != about[name])
                text = f"is of another comparison (other {names}); name another file with --run"
                raise DataError((str(self.file), [Fault(1, "other_comparison", text)]))
        elif "answer" in said:
            fields = said["answer"]
            key = fields.pop("row"), fields.pop("side")
            self._replies[key] = Reply(**fields)
        else:
            fields = said["verdict"]
            judged = fields.pop("pair"), fields.pop("judge")
            self._verdicts[judged] = PairVerdict(**fields)

    def _append(self, line: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(line).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())


@contextmanager
def open_run(file: Path, about: Mapping[str, Any]) -> Iterator[RunFile]:
    """Open or make it. Raises DataError when it cannot be, is of something else, or another process has it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stream.seek(0)
            run = RunFile(file, stream)
            run.begin(about)
            yield run
    except BlockingIOError as failed:
        text = "another command writes to it; wait for its end, or name another file with --run"
        raise DataError((str(file), [Fault(1, "in_use", text)])) from failed
    except OSError as failed:
        text = f"cannot be written ({failed.strerror}); name a file in another folder with --run"
        raise DataError((str(file), [Fault(1, "unwritable", text)])) from failed
