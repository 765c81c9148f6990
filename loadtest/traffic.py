"""Open-loop traffic for benchmarks that judge every answer: `python -m loadtest.traffic PLAN.json RECORDS.jsonl`.

Requests begin at random moments at the plan's rate, whether or not earlier ones were answered, so that a stall is seen
by everybody who would have come meanwhile. Half chat, half completions; answers in one piece and streams. What came
back is written down and judged by whoever made the plan (`loadtest.chaos`, `loadtest.swap_bench`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from loadtest.answers import Answer, read_answer
from loadtest.client import BrokenAnswer, Client, Reply
from loadtest.records import Ask, Attempt, Plan, Record, read_plan, write_records

LONGEST_RETRY_AFTER_S = 60.0
PROGRESS_S = 0.5


def request_of(model: str, prompt: str, *, chat: bool, stream: bool, tokens: int) -> tuple[str, bytes]:
    """Path and body of a request whose answer has exactly so many tokens."""
    body: dict[str, Any] = {"model": model, "max_tokens": tokens, "temperature": 0}
    if chat:
        body["messages"] = [{"role": "user", "content": prompt}]
    else:
        body["prompt"] = prompt
    if stream:
        body["stream"] = True
    return "/v1/chat/completions" if chat else "/v1/completions", json.dumps(body).encode()


@dataclass(slots=True)
class Traffic:
    """One run of a plan."""

    plan: Plan
    records: list[Record] = field(default_factory=list)
    running: int = 0
    failed: int = 0

    async def run(self) -> list[Record]:
        """Ask for `plan.seconds`, wait for the last answers, and return a record of every request."""
        plan = self.plan
        draw = random.Random(plan.seed)
        weights = list(accumulate(ask.weight for ask in plan.asks))
        async with AsyncExitStack() as stack:
            clients = {
                key: await stack.enter_async_context(Client(plan.url, key)) for key in {ask.key for ask in plan.asks}
            }
            progress = asyncio.create_task(self._show_progress())
            tasks: set[asyncio.Task[None]] = set()
            began = time.perf_counter()
            due = 0.0
            while (due := due + draw.expovariate(plan.rate)) < plan.seconds:
                await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
                (ask,) = draw.choices(plan.asks, cum_weights=weights)
                chat, stream = draw.random() < 0.5, draw.random() < plan.stream_share
                prompt = draw.randrange(len(plan.prompts))
                task = asyncio.create_task(self._ask(clients[ask.key], ask, chat, stream, prompt))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            while tasks:
                await asyncio.gather(*tasks)
            progress.cancel()
            with suppress(asyncio.CancelledError):
                await progress
        return self.records

    async def _ask(self, client: Client, ask: Ask, chat: bool, stream: bool, prompt: int) -> None:
        plan = self.plan
        tokens = plan.stream_tokens if stream else plan.whole_tokens
        path, body = request_of(ask.model, plan.prompts[prompt], chat=chat, stream=stream, tokens=tokens)
        attempts: list[Attempt] = []
        self.running += 1
        while True:
            attempt, answer = await _attempt(client, path, body, stream, plan.timeout_s)
            attempts.append(attempt)
            wait = attempt.retry_after_s
            if attempt.status != 503 or wait is None or len(attempts) > plan.retries:
                break
            await asyncio.sleep(wait)
        self.running -= 1
        record = Record(
            *(ask.tenant, ask.model, ask.forbidden, chat, stream, prompt, tokens),
            *(tuple(attempts), answer.models, answer.text),
        )
        self.failed += record.failure is not None
        self.records.append(record)

    async def _show_progress(self) -> None:
        began = time.perf_counter()
        while sys.stderr.isatty():
            print(
                f"\r\033[Ktraffic {time.perf_counter() - began:.0f} of {self.plan.seconds:.0f} s · "
                f"{len(self.records)} answered · {self.failed} failed · {self.running} running ",
                end="",
                file=sys.stderr,
                flush=True,
            )
            await asyncio.sleep(PROGRESS_S)


async def _attempt(client: Client, path: str, body: bytes, stream: bool, timeout_s: float) -> tuple[Attempt, Answer]:
    started = time.time()
    try:
        async with asyncio.timeout(timeout_s):
            reply = await client.post(path, body)
    except TimeoutError:
        return _no_answer(started, f"no answer within {timeout_s:g} s")
    except BrokenAnswer as error:
        if error.begun is None:
            return _no_answer(started, f"BrokenAnswer: {error}")
        return _judged(started, error.begun, stream, broken=str(error))
    except OSError as error:
        return _no_answer(started, f"{type(error).__name__}: {error}"[:300])
    return _judged(started, reply, stream, broken=None)


def _no_answer(started: float, failure: str) -> tuple[Attempt, Answer]:
    return Attempt(started, None, time.time(), 0, None, failure), Answer((), "", failure)


def _judged(started: float, reply: Reply, stream: bool, broken: str | None) -> tuple[Attempt, Answer]:
    ended = time.time()
    answer = read_answer(reply.status, reply.body, stream)
    first_byte = ended - reply.total_s + reply.first_byte_s
    attempt = Attempt(
        *(started, first_byte, ended, reply.status, reply.headers.get("x-request-id"), broken or answer.failure),
        retry_after_s=_retry_after_s(reply.headers.get("retry-after", "")),
        proper_error=answer.proper_error and broken is None,
    )
    return attempt, answer


def _retry_after_s(header: str) -> float | None:
    """The seconds that OpenAI's client would wait because of the header."""
    try:
        seconds = float(header)
    except ValueError:
        return None
    return seconds if 0 < seconds <= LONGEST_RETRY_AFTER_S else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.traffic", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path, help="a loadtest.records.Plan as JSON")
    parser.add_argument("records", type=Path, help="where one JSON object per request is written")
    options = parser.parse_args(arguments)
    write_records(options.records, asyncio.run(Traffic(read_plan(options.plan)).run()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
