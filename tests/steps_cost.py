"""What each piece of a served request costs: microseconds of the gateway's processor time, by file and by function.

    python -m tests.steps_cost --stream --requests 4000

One gateway on a processor of its own, before a mock engine, is asked by as many clients at once as a comparison with
another commit has (`tests.against`), which tells whether the sum has grown; this tells where. Where time goes is
sampled (`tests.bars.support.sampled`), so that the sum is true and a piece of less than a hundredth is a guess. How
many functions a request calls is held by a test (`tests/gateway/test_calls.py`). The last line of stdout is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.client import Client
from loadtest.figures import table
from loadtest.overhead import FORMS, Measured, Target, one_round
from tests.against import CONCURRENCY, ENGINE, cpu_us
from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import gateway_process
from tests.bars.support.processors import apart
from tests.bars.support.sampled import BEGIN, WRITE
from tests.support.stack import open_house
from tests.support.waiting import wait_until

WARM_UP = 200
SHOWN = 40
"""Functions; the rest is one line."""


def measure(dialect: str, *, stream: bool, requests: int) -> tuple[float, dict[str, float]]:
    """Microseconds of a request in all, and by function. Raises RuntimeError when an answer is wrong."""
    with tempfile.TemporaryDirectory() as name, open_house(Path(name) / "house") as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        file = Path(name) / "samples.json"
        under = [sys.executable, "-m", "tests.bars.support.sampled", str(file)]
        with (
            engine_processes(Path(name), 1, *ENGINE) as (engine,),
            gateway_process(house.settings.state_dir, [engine.url], under=under) as gateway,
            apart(gateway.pid, engine.pid),
        ):
            target = Target(gateway.url, "acme/triage", house.keys["acme"], None, dialect)
            asyncio.run(_ask(target, stream, WARM_UP))
            os.kill(gateway.pid, BEGIN)
            before = cpu_us(gateway.pid)
            asyncio.run(_ask(target, stream, requests))
            us = (cpu_us(gateway.pid) - before) / requests
            os.kill(gateway.pid, WRITE)
            wait_until("what was sampled", file.exists)
            samples: dict[str, int] = json.loads(file.read_text())
    number = sum(samples.values())
    return us, {where: us * count / number for where, count in samples.items()}


async def _ask(target: Target, stream: bool, requests: int) -> None:
    measured = Measured()
    async with Client(target.url, target.key) as client:
        await one_round(client, target, stream, requests, CONCURRENCY, measured)
    if measured.failures:
        raise RuntimeError(measured.failures[0])


def by_file(pieces: Mapping[str, float]) -> list[dict[str, Any]]:
    """Rows of a table, the dearest first."""
    found: defaultdict[str, float] = defaultdict(float)
    for where, us in pieces.items():
        found[where.partition(":")[0]] += us
    return [{"piece": name, "us": round(us, 2)} for name, us in _dearest(found)]


def _dearest(pieces: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(pieces.items(), key=lambda one: -one[1])


def by_function(pieces: Mapping[str, float]) -> list[dict[str, Any]]:
    """Likewise, with one line for those beyond `SHOWN`."""
    dearest = _dearest(pieces)
    rows = [{"piece": name, "us": round(us, 2)} for name, us in dearest[:SHOWN]]
    return [*rows, {"piece": "all others", "us": round(sum(us for _, us in dearest[SHOWN:]), 2)}]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.steps_cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dialect", choices=FORMS, default="chat")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--requests", type=int, default=4_000)
    options = parser.parse_args()
    us, pieces = measure(options.dialect, stream=options.stream, requests=options.requests)
    sys.stdout.write(f"{table(by_file(pieces))}\n\n{table(by_function(pieces))}\n")
    figures = {row["piece"]: row["us"] for row in by_file(pieces)}
    sys.stdout.write(json.dumps({"us": round(us, 1), "by_file": figures}) + "\n")


if __name__ == "__main__":
    main()
