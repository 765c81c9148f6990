"""What the run of tests has spent of its processors, file by file: the longest lines say what to make cheaper next.

A process counts itself and all that it has started, living or ended. What it spends before its first test, imports and
collection, has a line of its own.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

BEFORE = "imports and collection"
LONGEST = 25
LEAST_FILES = 50
"""Of fewer files nobody asks."""
TICKS = os.sysconf("SC_CLK_TCK")
RESULT = "processor_s"


def spent_s() -> float:
    """Seconds of processor of this process and of all that came of it; of a child that outlived its parent, nothing."""
    return sum(os.times()[:4]) + sum(map(_spent_by, _children_of("self")))


def _spent_by(pid: str) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0.0
    own_and_reaped = sum(map(int, fields[11:15])) / TICKS
    return own_and_reaped + sum(map(_spent_by, _children_of(pid)))


def _children_of(pid: str) -> Iterator[str]:
    """None of a process that has ended, which it may do at any line of this."""
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                yield from Path(f"/proc/{pid}/task/{task}/children").read_text().split()


class Meter:
    """Counts in one process that runs tests."""

    def __init__(self) -> None:
        self.by_file: defaultdict[str, float] = defaultdict(float)
        self._file, self._before_s = BEFORE, 0.0

    def turn_to(self, file: str) -> None:
        """What is spent from now on is this file's."""
        if file != self._file:
            now_s = spent_s()
            self.by_file[self._file] += now_s - self._before_s
            self._file, self._before_s = file, now_s

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fixtures that outlive their file's last test are ended in the time of that file, or of the next one."""
        self.turn_to(item.nodeid.split("::", 1)[0])
        return (yield)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell the process that shares tests out, if there is one."""
        self.turn_to("")
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[RESULT] = dict(self.by_file)


class Told:
    """Adds up what processes have told, in the one that shares tests out."""

    def __init__(self) -> None:
        self._by_file: defaultdict[str, float] = defaultdict(float)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """One that died has told nothing."""
        for file, seconds in getattr(node, "workeroutput", {}).get(RESULT, {}).items():
            self._by_file[file] += seconds

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The longest lines."""
        if len(self._by_file) < LEAST_FILES:
            return
        terminalreporter.section(f"{sum(self._by_file.values()):,.0f} seconds of processor")
        for file in sorted(self._by_file, key=self._by_file.__getitem__, reverse=True)[:LONGEST]:
            terminalreporter.write_line(f"{self._by_file[file]:7.1f} s  {file}")


def pytest_configure(config: pytest.Config) -> None:
    """Those that run tests count."""
    if Path("/proc/self/task").is_dir():
        shares_out = getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput")
        config.pluginmanager.register(Told() if shares_out else Meter())
