"""What the gateway adds: the same requests straight to an engine and through the gateway, in turn.

    python -m loadtest.mock_engine --port 8100 --answer-tokens 50 &
    python -m loadtest.overhead --direct http://127.0.0.1:8100 --direct-model base \\
        --gateway http://127.0.0.1:8080 --key sk-… --model acme/support --pid $(pidof …)

For each case (unstreamed, 52-event stream) and concurrency (1, 32) it alternates short rounds of both, so that a noisy
machine hurts them alike, and reports the median latency of each, their ratio and difference, the median time to the
first byte, requests per second, and the CPU seconds that the gateway's processes (`--pid`, children included) spent per
request. All are chats; what other dialects cost beside them is `python -m tests.bars dialects`. The last line of stdout
is one JSON document. Exits 1 when an answer is not a 200.

Two rates matter on a busy machine: the client shares the CPU with what it measures, so requests per second at
concurrency 32 are a lower bound; CPU per request is not affected.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import repeat
from statistics import median
from time import perf_counter
from typing import Any

import psutil

from loadtest.client import Client, Reply
from loadtest.figures import table

STREAM_TOKENS = 50
"""Tokens of a stream: with the role, usage and [DONE] events it has 53, of which 52 carry JSON."""
MOST_OF_AN_END = 4_096
"""Bytes of a stream's last event, which may repeat the request and the whole answer."""
PROMPT = "Write one line about the refund of an order."


@dataclass(frozen=True, slots=True)
class Form:
    """How a dialect asks for the same answer."""

    path: str
    prompt: Mapping[str, Any]
    bound: str
    """Its field for the most tokens."""
    stream: Mapping[str, Any]
    """What it sends for a stream."""
    ends: bytes
    """What is among the last bytes of a good stream."""


_MESSAGES = {"messages": [{"role": "user", "content": PROMPT}]}
_TO_THE_BOUND = {"ignore_eos": True}
"""For real engines; messages have no such field, and mock engines need none."""
_RESPONSE = Form(
    "/v1/responses",
    {"input": PROMPT, **_TO_THE_BOUND},
    "max_output_tokens",
    {"stream": True},
    b'"type":"response.incomplete"',
)
FORMS: Mapping[str, Form] = {
    "chat": Form(
        "/v1/chat/completions",
        {**_MESSAGES, **_TO_THE_BOUND},
        "max_tokens",
        {"stream": True, "stream_options": {"include_usage": True}},
        b"data: [DONE]\n\n",
    ),
    "responses": replace(_RESPONSE, prompt={**_RESPONSE.prompt, "store": False}),
    "stored responses": _RESPONSE,
    "messages": Form("/v1/messages", _MESSAGES, "max_tokens", {"stream": True}, b'"type":"message_stop"'),
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go."""

    url: str
    model: str
    key: str | None = None
    pid: int | None = None
    dialect: str = "chat"

    @property
    def form(self) -> Form:
        """Of its dialect."""
        return FORMS[self.dialect]


@dataclass(slots=True)
class Measured:
    """What one target did in one case."""

    totals_s: list[float] = field(default_factory=list)
    firsts_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report; times in the units that the names say."""

    case: str
    concurrency: int
    direct_ms: float
    gateway_ms: float
    ratio: float
    added_ms: float
    direct_first_ms: float
    gateway_first_ms: float
    direct_rps: float
    gateway_rps: float
    gateway_cpu_us: float | None
    failures: int


def request_body(model: str, stream: bool, form: Form = FORMS["chat"]) -> bytes:
    """A request; a stream always has exactly STREAM_TOKENS tokens, an unstreamed answer 16."""
    most = STREAM_TOKENS if stream else 16
    body = {"model": model, **form.prompt, "temperature": 0, form.bound: most}
    return json.dumps({**body, **form.stream} if stream else body).encode()


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process and all its children. Raises psutil.NoSuchProcess."""
    process = psutil.Process(pid)
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        times = each.cpu_times()
        total += times.user + times.system
    return total


async def one_round(
    client: Client, target: Target, stream: bool, requests: int, concurrency: int, into: Measured
) -> None:
    """`requests` requests, `concurrency` at a time, added to `into`."""
    form = target.form
    body, turns = request_body(target.model, stream, form), repeat(None, requests)

    async def worker() -> None:
        for _ in turns:
            judge(await client.post(form.path, body), form.ends if stream else b"", into)

    cpu = cpu_seconds(target.pid) if target.pid is not None else 0.0
    started = perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    into.wall_s += perf_counter() - started
    if target.pid is not None:
        into.cpu_s += cpu_seconds(target.pid) - cpu


def judge(reply: Reply, ends: bytes, into: Measured) -> None:
    """Count a reply; a wrong one is a failure and not a time."""
    if reply.status != 200 or ends not in reply.body[-MOST_OF_AN_END:]:
        into.failures.append(f"HTTP {reply.status}: {reply.body[:200].decode(errors='replace')}")
        return
    into.totals_s.append(reply.total_s)
    into.firsts_s.append(reply.first_byte_s)


async def measure(
    direct: Target, gateway: Target, stream: bool, concurrency: int, requests: int, rounds: int
) -> tuple[Row, list[str]]:
    """One case: a warm-up round, then `rounds` of each target in turn. Returns its row, and the failures."""
    per_round = max(requests // rounds, concurrency)
    async with AsyncExitStack() as clients:
        lanes = [
            (await clients.enter_async_context(Client(target.url, target.key)), target, Measured())
            for target in (direct, gateway)
        ]
        for client, target, measured in lanes:
            warm_up = Measured()
            await one_round(client, target, stream, 2 * concurrency, concurrency, warm_up)
            measured.failures += warm_up.failures
        for number in range(rounds):
            for client, target, measured in lanes if number % 2 == 0 else reversed(lanes):
                await one_round(client, target, stream, per_round, concurrency, measured)
    case = f"{STREAM_TOKENS + 2}-event stream" if stream else "unstreamed"
    (_, _, straight), (_, _, through) = lanes
    return as_row(case, concurrency, straight, through, gateway), straight.failures + through.failures


def as_row(case: str, concurrency: int, engine: Measured, gateway: Measured, target: Target) -> Row:
    """Medians of both side by side. Raises RuntimeError when one answered nothing rightly."""
    failures = engine.failures + gateway.failures
    if not engine.totals_s or not gateway.totals_s:
        raise RuntimeError(f"{case} at {concurrency}: no right answer to measure; first failure: {failures[:1]}")
    straight, through = median(engine.totals_s) * 1_000, median(gateway.totals_s) * 1_000
    return Row(
        case=case,
        concurrency=concurrency,
        direct_ms=round(straight, 4),
        gateway_ms=round(through, 4),
        ratio=round(through / straight, 3),
        added_ms=round(through - straight, 4),
        direct_first_ms=round(median(engine.firsts_s) * 1_000, 4),
        gateway_first_ms=round(median(gateway.firsts_s) * 1_000, 4),
        direct_rps=round(len(engine.totals_s) / engine.wall_s, 1),
        gateway_rps=round(len(gateway.totals_s) / gateway.wall_s, 1),
        gateway_cpu_us=None if target.pid is None else round(gateway.cpu_s / len(gateway.totals_s) * 1e6, 1),
        failures=len(failures),
    )


async def benchmark(direct: Target, gateway: Target, requests: int, rounds: int) -> tuple[list[Row], list[str]]:
    """Every case; streams get a quarter of the requests, since each has 52 events."""
    rows, failures = [], []
    for stream in (False, True):
        for concurrency in (1, 32):
            count = requests // 4 if stream else requests
            row, wrong = await measure(direct, gateway, stream, concurrency, count, rounds)
            rows.append(row)
            failures += wrong
    return rows, failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.overhead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--direct", required=True, help="the engine, http://host:port")
    parser.add_argument("--direct-model", default="base", help="the model's name on the engine")
    parser.add_argument("--gateway", required=True, help="the gateway, http://host:port")
    parser.add_argument("--model", required=True, help="the model's name at the gateway")
    parser.add_argument("--key", help="the gateway's key")
    parser.add_argument("--pid", type=int, help="the gateway's process, for CPU per request")
    parser.add_argument("--requests", type=int, default=2_000, help="unstreamed requests per target and concurrency")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(arguments)
    direct = Target(options.direct, options.direct_model)
    gateway = Target(options.gateway, options.model, options.key, options.pid)
    rows, failures = asyncio.run(benchmark(direct, gateway, options.requests, options.rounds))
    print(table([asdict(row) for row in rows]))
    for failure in failures[:5]:
        print(f"failed: {failure}")
    print(json.dumps({"rows": [asdict(row) for row in rows], "failures": len(failures)}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
