"""Processor time of a request, by this tree in that of another commit: pairs of short slices, in turn.

    python -m tests.against 91e3cc8 --slices 80 --requests 100

A shared machine is twice as fast in one minute as in the next, so that two runs cannot be compared. Here both
gateways run all the time, pinned to one processor, each before a mock engine of its own, and are asked in turn for a
tenth of a second: a pair of slices has one machine. Both engines are this tree's: a slower one sends fewer events at
once, and a gateway that is woken for each takes longer. What is told is the median of the pairs' ratios, with the
interval that has the true one in 95 of 100 cases, whatever their distribution (ranks of the binomial one with p = 1/2).
The last line of stdout is JSON: `ratio`, `least`, `most`, `pairs`, and microseconds of both in their best slices; and
`whole`, the ratio of all that both have used until a moment after the last slice. Usage goes to the database once a
second, in few slices, of which a median says nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from loadtest.client import Client
from loadtest.overhead import FORMS, Measured, Target, one_round
from tests.bars.support.engines import engine_processes
from tests.bars.support.processors import bind, shares
from tests.live.installation import ROOT

SERVE = """
import json, sys
from pathlib import Path
from tests.bars.support.gateways import gateway_process
from tests.support.stack import open_house
with open_house(Path(sys.argv[1])) as house:
    house.tenant("acme")
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with gateway_process(house.settings.state_dir, [sys.argv[2]]) as gateway:
        print(json.dumps([gateway.url, house.keys["acme"], gateway.pid]), flush=True)
        sys.stdin.read()
"""
"""Run in either tree: it ends when its input does."""
ENGINE = ("--answer-tokens", "50")
CONCURRENCY = 16
BEHIND_S = 2.0
"""After which usage is in the database."""
PROCESS_CLOCK = 2
"""Linux names the clock of a process so, behind its id (clock_getcpuclockid(3))."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Between these is the true median, in 95 of 100 cases."""
    ordered, count = sorted(values), len(values)
    rank = max(0, int(count / 2 - 0.98 * count**0.5))
    return ordered[rank], ordered[count - 1 - rank]


def cpu_us(pid: int) -> float:
    """Microseconds that all threads of a process have had a processor, those that have ended too."""
    return time.clock_gettime_ns(~pid << 3 | PROCESS_CLOCK) / 1_000


@contextmanager
def served(tree: Path, folder: Path, engine_url: str, processor: set[int], dialect: str) -> Iterator[Target]:
    """A tree's gateway before that engine, on that processor."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", SERVE, str(folder), engine_url]
    process = subprocess.Popen(
        command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url, key, pid = json.loads(process.stdout.readline())
            bind(pid, processor)
            yield Target(url, "acme/triage", key, pid, dialect)
        finally:
            process.stdin.close()


async def slices(
    targets: Sequence[Target],
    stream: bool,
    requests: int,
    pairs: int,
    *,
    at_once: int = CONCURRENCY,
    clock: Callable[[int], float] = cpu_us,
) -> list[list[float]]:
    """Microseconds of a request in each slice, by target, as the clock of a process's id tells them: a slice of each
    target in turn, `pairs` times, there and back. Raises RuntimeError when an answer is wrong.
    """
    found: list[list[float]] = [[] for _ in targets]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(target.url, target.key)) for target in targets]
        for number in range(-2, pairs):  # the first two warm up
            for index in range(len(targets)) if number % 2 else reversed(range(len(targets))):
                target, measured = targets[index], Measured()
                assert target.pid is not None
                before = clock(target.pid)
                await one_round(clients[index], replace(target, pid=None), stream, requests, at_once, measured)
                if measured.failures:
                    raise RuntimeError(measured.failures[0])
                if number >= 0:
                    found[index].append((clock(target.pid) - before) / requests)
    return found


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """A work tree of that commit, gone after the block. Raises CalledProcessError."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", "--quiet", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def compare(old: str, new: str | None, dialect: str, *, stream: bool, requests: int, pairs: int) -> dict[str, Any]:
    """The figures; `new` is this tree if it is `None`. Raises RuntimeError when an answer is wrong."""
    processor, others = shares()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trees = [
            ROOT if commit is None else stack.enter_context(checked_out(commit, folder / f"tree-{number}"))
            for number, commit in enumerate((new, old))
        ]
        os.sched_setaffinity(0, others)  # whatever is begun from now on is there
        engines = stack.enter_context(engine_processes(folder, len(trees), *ENGINE))
        targets = [
            stack.enter_context(served(tree, folder / name, engine.url, processor, dialect))
            for tree, name, engine in zip(trees, ("new", "old"), engines, strict=True)
        ]
        pids = [target.pid for target in targets if target.pid is not None]
        before = [cpu_us(pid) for pid in pids]
        ours, theirs = asyncio.run(slices(targets, stream, requests, pairs))
        time.sleep(BEHIND_S)
        new_whole, old_whole = (cpu_us(pid) - began for pid, began in zip(pids, before, strict=True))
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    least, most = interval(ratios)
    figures = {"ratio": median(ratios), "least": least, "most": most, "whole": new_whole / old_whole}
    best = {"new_us": round(min(ours), 1), "old_us": round(min(theirs), 1)}
    return {**{name: round(value, 4) for name, value in figures.items()}, "pairs": pairs, **best}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.against", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit")
    parser.add_argument("--new", help="the commit that is held against it, instead of this tree")
    parser.add_argument("--dialect", choices=FORMS, default="chat")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--requests", type=int, default=100, help="in a slice")
    parser.add_argument("--slices", type=int, default=80, help="of each tree")
    options = parser.parse_args()
    figures = compare(
        options.commit,
        options.new,
        options.dialect,
        stream=options.stream,
        requests=options.requests,
        pairs=options.slices,
    )
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
