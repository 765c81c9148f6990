"""Does a promote lose or mix up a single request? Keeps requests in flight before, during and after a command.

    python -m loadtest.promote_under_load --url http://127.0.0.1:8080 --key sk-… --model acme/support \\
        --versions 1.0,1.1 -- switchyard adapters promote acme/support 1.1

Every worker asks in a loop, mixing chat and completions, streamed and not, and records when each request started and
ended and which `model` answered. An answer is right when it is whole and its version was current at some moment
between its start and its end:

    ended before the command started    the old version
    started after the command returned  the new version
    otherwise                           either

All events of a stream must name one and the same version. The last line of stdout is one JSON document; the exit
status is 1 when any request failed or was answered by a wrong version, when the command failed, or when a phase has
no request in it (then nothing was proven).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from loadtest.client import Client, Reply
from loadtest.figures import summary, table

COMMAND_LIMIT_S = 600.0
PAUSE_AFTER_FAILURE_S = 0.05


@dataclass(frozen=True, slots=True)
class RequestTiming:
    """One request. Times are seconds on one clock; `version` is None when no whole answer came."""

    started: float
    ended: float
    kind: str
    version: str | None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The command's run: from its start to its return."""

    opened: float
    closed: float
    status: int
    output: str

    def phase(self, record: RequestTiming) -> str:
        """before, during or after."""
        if record.ended < self.opened:
            return "before"
        return "after" if record.started > self.closed else "during"


@dataclass(frozen=True)
class Load:
    """What is asked, and how much of it."""

    url: str
    key: str | None
    model: str
    concurrency: int = 200
    max_tokens: int = 16
    lead_s: float = 3.0
    """Seconds of load before the command, and again after it."""


def request_of(load: Load, turn: int) -> tuple[str, str, bytes]:
    """Kind, path and body of the turn-th request: the four kinds in turn."""
    chat, stream = turn % 2 == 0, turn % 4 < 2
    body: dict[str, Any] = {"model": load.model, "max_tokens": load.max_tokens, "temperature": 0}
    text = f"Write one line about case {turn % 40}."
    if chat:
        body["messages"] = [{"role": "user", "content": text}]
    else:
        body["prompt"] = text
    if stream:
        body["stream"] = True
    kind = ("chat" if chat else "text") + (" stream" if stream else "")
    return kind, "/v1/chat/completions" if chat else "/v1/completions", json.dumps(body).encode()


def version_of(reply: Reply, stream: bool) -> str:
    """The version that answered: what follows `@` in `model`. Raises ValueError for anything but one whole answer."""
    if reply.status != 200:
        raise ValueError(f"HTTP {reply.status}: {reply.body[:300].decode(errors='replace')}")
    documents = _events(reply.body) if stream else [json.loads(reply.body)]
    if wrong := [document["error"] for document in documents if "error" in document]:
        raise ValueError(f"error in the stream: {wrong[0]}")
    finished = any(choice.get("finish_reason") for document in documents for choice in document["choices"])
    if not finished:
        raise ValueError("the answer has no finish_reason")
    models = {document["model"] for document in documents}
    if len(models) != 1:
        raise ValueError(f"one answer names several models: {sorted(models)}")
    return str(models.pop()).rpartition("@")[2]


def _events(body: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    if not lines or lines[-1] != b"[DONE]":
        raise ValueError("the stream ended without [DONE]")
    return [json.loads(line) for line in lines[:-1]]


async def ask_until(load: Load, client: Client, first: int, stop: asyncio.Event, into: list[RequestTiming]) -> None:
    """One worker: request after request until `stop` is set; the one in flight is finished."""
    turn = first
    while not stop.is_set():
        kind, path, body = request_of(load, turn)
        started = perf_counter()
        version, failure = None, None
        try:
            version = version_of(await client.post(path, body), kind.endswith("stream"))
        except (OSError, ValueError, KeyError) as error:
            failure = f"{type(error).__name__}: {error}"[:300]
            await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
        into.append(RequestTiming(started, perf_counter(), kind, version, failure))
        turn += 1


async def run_command(command: Sequence[str]) -> Window:
    """Run the promote; a command that outlives 10 minutes is killed and counts as failed."""
    opened = perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_LIMIT_S)
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
    assert process.returncode is not None
    return Window(opened, perf_counter(), process.returncode, output.decode(errors="replace")[-2_000:])


async def promote_under_load(load: Load, command: Sequence[str]) -> tuple[list[RequestTiming], Window]:
    """Load, command, load; every record and the command's window."""
    records: list[RequestTiming] = []
    stop = asyncio.Event()
    async with Client(load.url, load.key) as client:
        workers = [
            asyncio.create_task(ask_until(load, client, number, stop, records)) for number in range(load.concurrency)
        ]
        try:
            await asyncio.sleep(load.lead_s)
            window = await run_command(command)
            await asyncio.sleep(load.lead_s)
        finally:
            stop.set()
            await asyncio.gather(*workers)
    return records, window


def fault(record: RequestTiming, window: Window, old: str, new: str) -> str | None:
    """Why a record is wrong, or None."""
    if record.failure is not None:
        return record.failure
    phase = window.phase(record)
    allowed = {"before": {old}, "during": {old, new}, "after": {new}}[phase]
    if record.version in allowed:
        return None
    return f"{phase} the command, answered by {record.version!r} instead of {' or '.join(sorted(allowed))}"


def report(records: Sequence[RequestTiming], window: Window, old: str, new: str) -> dict[str, Any]:
    """The JSON document: counts per phase and version, failures, latency, and whether it passed."""
    faults = Counter(text for record in records if (text := fault(record, window, old, new)))
    phases: dict[str, Counter[str]] = {phase: Counter() for phase in ("before", "during", "after")}
    for record in records:
        phases[window.phase(record)][record.version or "failed"] += 1
    firsts = [record.ended - window.opened for record in records if record.version == new]
    lasts = [record.started - window.opened for record in records if record.version == old]
    return {
        "passed": not faults and window.status == 0 and all(phases.values()),
        "requests": len(records),
        "failures": faults.total(),
        "failure_examples": dict(faults.most_common(5)),
        "command_status": window.status,
        "command_s": round(window.closed - window.opened, 3),
        "first_new_answer_s": round(min(firsts), 3) if firsts else None,
        "last_old_start_s": round(max(lasts), 3) if lasts else None,
        "phases": {phase: dict(sorted(counts.items())) for phase, counts in phases.items()},
        "latency_ms": summary([(record.ended - record.started) * 1_000 for record in records]),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.promote_under_load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", required=True, help="the gateway, http://host:port")
    parser.add_argument("--key", required=True)
    parser.add_argument("--model", required=True, help="the adapter's name or alias, without a version")
    parser.add_argument("--versions", required=True, help="old,new as in 1.0,1.1")
    parser.add_argument("--concurrency", type=int, default=Load.concurrency)
    parser.add_argument("--max-tokens", type=int, default=Load.max_tokens)
    parser.add_argument("--lead-s", type=float, default=Load.lead_s)
    parser.add_argument("command", nargs="+", help="the promote, after --")
    options = parser.parse_args(arguments)
    old, _, new = options.versions.partition(",")
    if not old or not new:
        parser.error(f"--versions {options.versions!r}: give old,new as in 1.0,1.1")
    load = Load(options.url, options.key, options.model, options.concurrency, options.max_tokens, options.lead_s)
    records, window = asyncio.run(promote_under_load(load, options.command))
    result = report(records, window, old, new)
    if window.status:
        print(f"the command ended with {window.status}:\n{window.output}")
    rows = [
        {"phase": phase, "version": v, "requests": n} for phase, c in result["phases"].items() for v, n in c.items()
    ]
    print(table(rows or [{"phase": "-", "version": "-", "requests": 0}]))
    for text, times in result["failure_examples"].items():
        print(f"failed {times}x: {text}")
    print(json.dumps(result))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
