"""Measure a trained adapter against everything its base can do without training, through the gateway.

    python -m examples.measure --url http://127.0.0.1:8000/v1 --task triage --key sk-... --base-model smollm2

Four ways on the same held-out rows, greedy decoding, exact match: the adapter with the row's own short prompt; the base
with the house's guide in its prompt (zero-shot), with three worked examples more, and with its output constrained to
legal answers. Prints a table; the last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openai

from examples import phrases_sentiment as sentiment
from examples import phrases_triage as triage
from trainer.evaluation.metrics import METRICS
from trainer.evaluation.proportions import paired_difference, score_of

SHOTS = 3
MAX_TOKENS = {"triage": 24, "sentiment": 8}
METRIC = {"triage": "json_exact", "sentiment": "label_exact"}
TENANT = {"triage": "acme", "sentiment": "globex"}
BASE_WAYS = ("base, zero-shot", "base, 3-shot", "base, constrained")

Row = dict[str, Any]
Ask = Callable[[Row], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Way:
    """One way of answering: which model, with how much help."""

    name: str
    model: str
    guide: bool = False
    shots: tuple[Row, ...] = ()
    constrained: bool = False


def prompt_and_reference(row: Row) -> tuple[str, str]:
    """What the model is asked, and the right answer."""
    if "prompt" in row:
        return str(row["prompt"]), str(row["completion"])
    return str(row["messages"][-2]["content"]), str(row["messages"][-1]["content"])


def triage_guide() -> str:
    """The house's rules for triage, as a system prompt."""
    teams = "; ".join(f"{team} = {meaning}" for team, meaning in triage.TEAMS.items())
    priorities = "; ".join(f"{priority} = {meaning}" for priority, meaning in triage.PRIORITIES.items())
    return (
        f"Triage the ticket. Teams: {teams}. Priorities: {priorities}. "
        'Answer with JSON only, like {"team":"...","priority":"..."}.'
    )


def sentiment_guide() -> str:
    """The house's rules for moods, as the head of a prompt."""
    labels = "; ".join(f"{label} = {meaning}" for label, meaning in sentiment.LABELS.items())
    return f"Name the mood of each review with one word. Moods: {labels}.\n\n"


def triage_messages(way: Way, row: Row) -> list[dict[str, str]]:
    """The chat for one ticket."""
    system = triage_guide() if way.guide else row["messages"][0]["content"]
    messages = [{"role": "system", "content": system}]
    for shot in way.shots:
        messages.extend(shot["messages"][1:])
    return [*messages, row["messages"][-2]]


def sentiment_prompt(way: Way, row: Row) -> str:
    """The prompt for one review."""
    shots = "".join(f"{shot['prompt']}{shot['completion']}\n\n" for shot in way.shots)
    return f"{sentiment_guide() if way.guide else ''}{shots}{row['prompt']}"


def triage_schema() -> dict[str, Any]:
    """An answer format that allows the legal teams and priorities only."""
    schema = {
        "type": "object",
        "properties": {
            "team": {"type": "string", "enum": list(triage.TEAMS)},
            "priority": {"type": "string", "enum": list(triage.PRIORITIES)},
        },
        "required": ["team", "priority"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "triage", "schema": schema, "strict": True}}


def triage_ask(client: openai.AsyncOpenAI, way: Way) -> Ask:
    """Ask through /v1/chat/completions."""

    async def ask(row: Row) -> str:
        extra: dict[str, Any] = {"response_format": triage_schema()} if way.constrained else {}
        messages: Any = triage_messages(way, row)
        answer = await client.chat.completions.create(
            model=way.model, messages=messages, temperature=0, max_tokens=MAX_TOKENS["triage"], **extra
        )
        return answer.choices[0].message.content or ""

    return ask


def sentiment_ask(client: openai.AsyncOpenAI, way: Way) -> Ask:
    """Ask through /v1/completions; an answer is its first line."""

    async def ask(row: Row) -> str:
        choices = [f" {label}" for label in sentiment.LABELS]
        answer = await client.completions.create(
            model=way.model,
            prompt=sentiment_prompt(way, row),
            temperature=0,
            max_tokens=MAX_TOKENS["sentiment"],
            extra_body={"structured_outputs": {"choice": choices}} if way.constrained else None,
        )
        return answer.choices[0].text.strip().partition("\n")[0]

    return ask


async def outcomes(ask: Ask, rows: Sequence[Row], metric: str, concurrency: int) -> list[bool]:
    """Whether each row was answered right, `concurrency` requests at a time."""
    free = asyncio.Semaphore(concurrency)

    async def one(row: Row) -> bool:
        async with free:
            return METRICS[metric](await ask(row), prompt_and_reference(row)[1])

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(row)) for row in rows]
    return [task.result() for task in tasks]


def pick_shots(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The first training rows with answers that share nothing: other teams and priorities, other labels."""
    shots: list[Row] = []
    seen: set[str] = set()
    for row in rows:
        answer = prompt_and_reference(row)[1]
        parts = set(json.loads(answer).values()) if "messages" in row else {answer}
        if not parts & seen:
            shots.append(row)
            seen |= parts
        if len(shots) == SHOTS:
            break
    return tuple(shots)


def ways(adapter: str, base: str, shots: tuple[Row, ...]) -> tuple[Way, ...]:
    """The adapter and the three ways to use the base."""
    zero, few, constrained = BASE_WAYS
    return (
        Way("adapter", adapter),
        Way(zero, base, guide=True),
        Way(few, base, guide=True, shots=shots),
        Way(constrained, base, guide=True, constrained=True),
    )


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def summary(task: str, results: dict[str, list[bool]]) -> dict[str, Any]:
    """Rates with 95 % Wilson intervals, and the paired difference of the adapter to the base's best way."""
    scores = {name: score_of(sum(right), len(right)) for name, right in results.items()}
    best = max(BASE_WAYS, key=lambda name: scores[name].rate)
    difference, low, high = paired_difference(results["adapter"], results[best])
    return {
        "task": task,
        "metric": METRIC[task],
        "rows": len(results["adapter"]),
        "scores": {name: asdict(score) for name, score in scores.items()},
        "base_best": best,
        "difference": {"points": 100 * difference, "low": 100 * low, "high": 100 * high},
    }


def print_summary(found: dict[str, Any]) -> None:
    """The table, the difference, and the JSON line."""
    print(f"{found['task']}: {found['metric']} on {found['rows']} held-out rows")
    for name, score in found["scores"].items():
        print(f"  {name:<18} {score['rate']:6.1%}   ({score['low']:.1%} to {score['high']:.1%})")
    difference = found["difference"]
    print(
        f"  adapter minus {found['base_best']}: {difference['points']:+.1f} points "
        f"({difference['low']:+.1f} to {difference['high']:+.1f}, paired, 95 %)"
    )
    print(json.dumps(found))


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the four ways one after the other."""
    folder = Path(__file__).parent / arguments.task
    rows = read_rows(folder / "heldout.jsonl")[: arguments.rows]
    shots = pick_shots(read_rows(folder / "train.jsonl"))
    adapter = arguments.adapter or f"{TENANT[arguments.task]}/{arguments.task}"
    make_ask = triage_ask if arguments.task == "triage" else sentiment_ask
    results: dict[str, list[bool]] = {}
    async with openai.AsyncOpenAI(base_url=arguments.url, api_key=arguments.key, timeout=120) as client:
        for way in ways(adapter, arguments.base_model, shots):
            print(f"asking: {way.name}", file=sys.stderr)
            results[way.name] = await outcomes(
                make_ask(client, way), rows, METRIC[arguments.task], arguments.concurrency
            )
    return summary(arguments.task, results)


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="base URL of the gateway, with /v1")
    parser.add_argument("--task", required=True, choices=("triage", "sentiment"))
    parser.add_argument("--key", default=os.environ.get("OPENAI_API_KEY"), help="API key that may use adapter and base")
    parser.add_argument("--base-model", required=True, help="public name of the base model")
    parser.add_argument("--adapter", help="model name of the adapter; default: TENANT/TASK")
    parser.add_argument("--rows", type=int, default=240, help="held-out rows used, from the start of the file")
    parser.add_argument("--concurrency", type=int, default=8, help="requests at a time")
    arguments = parser.parse_args()
    if not arguments.key:
        parser.error("--key is missing; give it or set OPENAI_API_KEY")
    print_summary(asyncio.run(measure(arguments)))


if __name__ == "__main__":
    main()
