"""kill -9 of gateway processes at 50 random moments under streaming load, and the start with a journal of 1M attempts.

Half of the kills hit a gateway of one process, which is then started again; half hit a worker of two. A witness keeps
every segment of the usage journal. At the end the ledger is compared with it, and with what the client saw complete.
`lost`: settle records and complete answers that the ledger does not have as they were. `duplicated`: attempts that
ended twice, answers that were booked twice. `unresolved`: intents without a row. `recovery_s`: until every intent of a
dead worker's journal is settled or marked lost, and the gateway may serve; rows go to SQL from there on, in the
background (`ledger_rows_per_s`).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from gateway.journal.journal import Journal
from gateway.journal.shipper import Shipper
from gateway.journal.verify import verify
from loadtest.answers import read_answer
from loadtest.client import BrokenAnswer, Client
from registry.db import Database
from registry.ledger.usage_report import report_usage
from tests.bars.support.big_journal import RUNNING
from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.bars.support.witness import Testimony, testify, witness
from tests.live.installation import ROOT
from tests.support.stack import CHAT, MESSAGES, House, open_house
from tests.support.waiting import wait_until_async

KILLS, ROWS, STREAMS, TOKENS = 50, 1_000_000, 12, 12
SEED = 20_261_126
FLOWS_WITHIN_S = 30.0
RECOVERY_LIMIT_S = 5.0
MODEL = "acme/triage"


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Kill, start again, compare; then the big journal."""
    draw = random.Random(SEED)
    kills = max(2, round(KILLS * scale))
    mock = ("--ttft-ms", "5", "--token-ms", "4", "--answer-tokens", str(TOKENS))
    with open_house(folder) as house, engine_processes(folder, 1, *mock) as (engine,):
        house.tenant("acme")
        house.publish(MODEL)
        house.point(MODEL, "1.0")
        journal = house.settings.state_dir / "journal"
        with witness(journal, folder / "kept"):
            complete = _kill_single(house, engine.url, kills // 2, draw)
            complete += _kill_workers(house, engine.url, kills - kills // 2, draw)
        said = testify(folder / "kept")
        _ship_the_rest(house, journal)
        figures = {"kills": kills, **compare(said, house.registry.ledger.recent(1_000_000), complete)}
        problems = verify(journal, house.registry.ledger).problems
    with open_house(folder / "big") as house:
        recovered = _recover(house, int(ROWS * scale))
    figures["recovery_s"] = recovered.pop("recovery_s")
    return {
        "figures": figures,
        "detail": {"complete": len(complete), "attempts": len(said.intents), "problems": list(problems), **recovered},
        "bars": {
            "0 settled attempts lost": figures["lost"] == 0,
            "0 booked twice": figures["duplicated"] == 0,
            "every attempt has its row": figures["unresolved"] == 0,
            "`switchyard ledger verify` finds nothing": not problems,
            "answers were complete, and others were not": 0 < len(complete) < len(said.intents),
        },
        "speed": {f"recovery within {RECOVERY_LIMIT_S:g} s": figures["recovery_s"] <= RECOVERY_LIMIT_S},
    }


def compare(said: Testimony, rows: list[dict[str, Any]], complete: list[str]) -> dict[str, int]:
    """The ledger's rows against the journal's records and the requests that a client saw complete. Pure."""
    booked = {row["attempt_id"]: row for row in rows}
    served = Counter(row["request_id"] for row in rows if row["outcome"] == "ok")
    fields = ("outcome", "prompt_tokens", "cached_tokens", "completion_tokens", "started_at_ms", "finished_at_ms")
    differing = [
        attempt_id
        for attempt_id, settled in said.settles.items()
        if any(booked.get(attempt_id, {}).get(name) != getattr(settled[0].end, name) for name in fields)
    ]
    return {
        "lost": len(differing) + sum(served[request_id] == 0 for request_id in complete),
        "duplicated": sum(len(settled) - 1 for settled in said.settles.values())
        + sum(count - 1 for count in served.values() if count > 1)
        + len(rows)
        - len(booked),
        "unresolved": len(said.intents - booked.keys()),
    }


def _kill_single(house: House, engine_url: str, kills: int, draw: random.Random) -> list[str]:
    complete: list[str] = []
    for _ in range(kills):
        with gateway_process(house.settings.state_dir, [engine_url]) as gateway:

            async def kill(pid: int = gateway.pid) -> None:
                await asyncio.sleep(draw.uniform(0.1, 0.6))
                os.kill(pid, signal.SIGKILL)

            complete += asyncio.run(_streams(house, gateway, kill))
    return complete


def _replaced(gateway: GatewayProcess, before: Sequence[int]) -> bool:
    workers = _workers(gateway)
    return set(workers) != set(before) and len(workers) >= 2


def _kill_workers(house: House, engine_url: str, kills: int, draw: random.Random) -> list[str]:
    with gateway_process(house.settings.state_dir, [engine_url], workers=2) as gateway:

        async def kill() -> None:
            for _ in range(kills):
                before = _workers(gateway)
                await asyncio.sleep(draw.uniform(0.1, 0.6))
                os.kill(draw.choice(before), signal.SIGKILL)
                await wait_until_async("another worker", partial(_replaced, gateway, before))
            await asyncio.sleep(0.3)

        return asyncio.run(_streams(house, gateway, kill))


def _workers(gateway: GatewayProcess) -> list[int]:
    return sorted(one.pid for one in gateway.children("worker"))


async def _streams(house: House, gateway: GatewayProcess, kill: Callable[[], Awaitable[None]]) -> list[str]:
    """Streams, and answers in one piece, one after the other on each connection, until `kill` has returned, which is
    called when the first answer is complete.
    """
    complete: list[str] = []
    flowing, over = asyncio.Event(), asyncio.Event()
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": TOKENS}

    async def ask(client: Client, stream: bool) -> None:
        while not over.is_set():
            try:
                reply = await client.post(CHAT, orjson.dumps({**body, "stream": stream}))
            except (BrokenAnswer, OSError):
                await asyncio.sleep(0.02)
                continue
            if read_answer(reply.status, reply.body, stream).failure is None:
                complete.append(reply.headers["x-request-id"])
                flowing.set()
            elif reply.status == 503:
                await asyncio.sleep(0.05)

    async with Client(gateway.url, house.keys["acme"]) as client:
        tasks = [asyncio.create_task(ask(client, number % 4 > 0)) for number in range(STREAMS)]
        try:
            async with asyncio.timeout(FLOWS_WITHIN_S):
                await flowing.wait()
            await kill()
        finally:
            over.set()
        await asyncio.gather(*tasks)
    return complete


def _ship_the_rest(house: House, folder: Path) -> None:
    """What the next gateway to start would do with what the last one left."""
    journal = Journal(folder, "last")
    Shipper(journal, house.registry.ledger).ship()
    journal.close()


def _recover(house: House, rows: int) -> dict[str, Any]:
    """Take over the journal of a worker that was killed before it had shipped any of it."""
    folder = house.settings.state_dir / "journal"
    subprocess.run(
        [sys.executable, "-m", "tests.bars.support.big_journal", str(folder), str(rows)], cwd=ROOT, check=True
    )
    journal = Journal(folder, "next")
    shipper = Shipper(journal, house.registry.ledger)
    began = time.perf_counter()
    lost = shipper.recover()
    recovery_s = time.perf_counter() - began
    began = time.perf_counter()
    shipper.ship()
    ship_s = time.perf_counter() - began
    journal.close()
    assert lost == RUNNING, lost
    assert _attempts(house.registry.db) == rows
    return {
        "recovery_s": round(recovery_s, 2),
        "journal_attempts": rows,
        "ledger_rows_per_s": round(rows / ship_s),
    }


def _attempts(db: Database) -> int:
    return sum(line.attempts for line in report_usage(db, "tenant", until_ms=2**60).lines)
