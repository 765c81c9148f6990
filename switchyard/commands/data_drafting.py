"""What `switchyard data generate`, `augment` and `review` do: ask, tell what it came to, show drafts to a person."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from switchyard.commands.data import one_of
from switchyard.console import ask, edited, print_json, say
from trainer.data.near import Known
from trainer.data.overlap import rows_of
from trainer.data.provenance import family
from trainer.data.read import read_data
from trainer.data.synthetic.drafts import Draft, DraftsFile, open_drafts
from trainer.data.synthetic.generate import Made, Maker
from trainer.data.synthetic.review import changed_row
from trainer.data.synthetic.writer import WriterOrder, writer_of
from trainer.endpoints.client import Spent
from trainer.endpoints.endpoint import DEFAULT_URLS, KEY_VARIABLES, Endpoint, key_from
from trainer.errors import TrainerError

MAX_GUIDELINE_CHARACTERS = 20_000
MOST_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Order:
    """Whom to ask, and where drafts go."""

    writer: WriterOrder
    out: Path
    prices: tuple[float | None, float | None]
    json_output: bool


def run(order: Order, known: Known, stage: Callable[[str], None], work: Callable[[Maker], Awaitable[None]]) -> None:
    """Ask, and say what it came to, also when the endpoint gave up half-way."""

    async def make() -> tuple[Made, Spent]:
        with open_drafts(order.out) as file:
            async with writer_of(order.writer) as writer:
                maker = Maker(writer, file, known, stage)
                try:
                    await work(maker)
                except TrainerError:
                    _say_made(order, maker.made, writer.spent, err=True)
                    raise
                return maker.made, writer.spent

    made, spent = asyncio.run(make())
    if order.json_output:
        print_json({"out": str(order.out), **asdict(made), **asdict(spent), "dollars": _dollars(order, spent)})
    else:
        _say_made(order, made, spent)
        _say_warnings(order)


def _say_made(order: Order, made: Made, spent: Spent, *, err: bool = False) -> None:
    dollars = _dollars(order, spent)
    cost = f", ${dollars:.4f}" if dollars is not None else "; give --price-in and --price-out for the cost"
    tokens = f"{spent.prompt_tokens:,} prompt and {spent.answer_tokens:,} answer tokens"
    say(f"{made.drafts} new drafts in {order.out}; {spent.requests} requests, {tokens}{cost}", err=err)
    if made.duplicates:
        say(f"{made.duplicates} were there already, exactly or nearly, and are not kept", err=err)
    if made.unusable or made.cut:
        text = f"{made.unusable} answers or rows were no rows as asked for"
        say(text + (f"; {made.cut} answers were cut: raise --max-tokens or lower --batch" if made.cut else ""), err=err)
    for name, missing in list(made.missing.items())[:20]:
        say(f"{name}: {missing} fewer than wanted; run the same command again for more, or widen the topic", err=err)


def _say_warnings(order: Order) -> None:
    say(
        "",
        f"nobody has read them: `switchyard data review {order.out} --out reviewed.jsonl` before you train on any",
        "of 100 training rows at most 30 should be synthetic; a training says the share",
        f"do not train a model of the family {family(order.writer.model)!r} on them: one that learns from its own "
        "kind loses what is rare (model collapse)",
    )


def _dollars(order: Order, spent: Spent) -> float | None:
    price_in, price_out = order.prices
    if price_in is None or price_out is None:
        return None
    return (spent.prompt_tokens * price_in + spent.answer_tokens * price_out) / 1e6


def endpoint_of(api: str, base_url: str | None, key_env: str | None) -> Endpoint:
    """Who is asked, with the key from the environment. Raises EndpointError without one where one is needed."""
    shape: Any = one_of(api, tuple(DEFAULT_URLS), "--api")
    needed = key_env is not None or base_url is None
    return Endpoint(base_url or DEFAULT_URLS[shape], key_from(key_env or KEY_VARIABLES[shape], required=needed), shape)


def text_of(file: Path | None) -> str:
    """Guidelines from a file; empty without one. Raises TrainerError."""
    if file is None:
        return ""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        raise TrainerError(f"{file}: cannot be read as text ({failed}); give a text file") from failed
    if len(text) > MAX_GUIDELINE_CHARACTERS:
        raise TrainerError(f"{file}: guidelines have at most {MAX_GUIDELINE_CHARACTERS} characters; shorten them")
    return text.strip()


def known_of(files: Iterable[Path]) -> Known:
    """What the rows of these files ask. Raises DataError."""
    known = Known()
    for file in files:
        for row in rows_of(read_data(file, "auto").examples):
            known.take(row.asked)
    return known


def review_in_terminal(drafts: DraftsFile, by: str) -> None:
    """Show drafts one by one and keep what is decided, until all are or the person has enough."""
    waiting = [draft for draft in drafts.drafts.values() if draft.status == "draft"]
    for number, draft in enumerate(waiting, start=1):
        _show(draft, f"{number} of {len(waiting)}")
        if not _decided(drafts, draft, by):
            return


def _decided(drafts: DraftsFile, draft: Draft, by: str) -> bool:
    """Ask until there is an answer; False when no more are to be shown."""
    while True:
        try:
            said = ask("[a]ccept, [e]dit, [r]eject, [s]kip, [q]uit").strip().lower()
        except typer.Abort:
            return False
        if said in ("q", "quit"):
            return False
        if said in ("s", "skip"):
            return True
        if said in ("a", "accept", "r", "reject"):
            drafts.decide(draft, "accepted" if said.startswith("a") else "rejected", by)
            return True
        if said in ("e", "edit") and _edit(drafts, draft, by):
            return True


def _edit(drafts: DraftsFile, draft: Draft, by: str) -> bool:
    text = edited(json.dumps(draft.row, ensure_ascii=False, indent=2))
    if text is None:
        return False
    try:
        drafts.decide(draft, "edited", by, changed_row(text))
    except ValueError as wrong:
        say(f"not kept: {wrong}")
        return False
    return True


def _show(draft: Draft, place: str) -> None:
    origin = f"{draft.kind} by {draft.model}, {draft.at}" + (f", on {draft.topic}" if draft.topic else "")
    say("", f"── {place}  {origin}")
    for key, value in draft.row.items():
        text = value if isinstance(value, str) else _turns(value)
        for at, line in enumerate(text[:MOST_TEXT].split("\n")):
            say(f"{key if at == 0 else '':>12} │ {line}")


def _turns(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(turn, dict) for turn in value):
        return "\n".join(f"{turn.get('role', '')}: {turn.get('content', '')}" for turn in value)
    return str(value)
