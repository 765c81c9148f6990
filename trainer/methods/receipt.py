"""The masking receipt: before the first step, what will be learnt of each row, and that the engine reads prompts so.

The worst faults of fine-tuning are silent: rows of which nothing is learnt, answers that are never taught to end,
prompts that the engine renders otherwise than the training did. A training with one of these does not begin.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.bases.fingerprint import read_fingerprint
from registry.bases.renderings import Rendering
from trainer.data.encode import Encoded, as_rendered
from trainer.data.rows import Example
from trainer.errors import TrainingRefused
from trainer.methods.loading import loading
from trainer.renderings import take_renderings

SAMPLES = 3
MAX_COMPARED = 32
"""Rows whose prompts are rendered a second time; evenly spread over the file."""
MAX_SHOWN_CHARACTERS = 400
OPEN, CLOSE = "⟦", "⟧"
"""Stand around what is learnt in a shown sample."""

AskEngine = Callable[[Example], tuple[int, ...]]
"""The token ids that an engine's /tokenize makes of an example's prompt."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A row as the model sees it, special tokens and all; what is learnt stands between ⟦ and ⟧. Shortened."""

    line: int
    text: str
    learnt_tokens: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is learnt of the rows. Counts are of tokens unless they say rows.

    `stops`: how many rows are taught to end with which token. `rendered_by` says what the prompts were compared with.
    `tokens_sha256` is of all token ids and what is learnt of them.
    """

    rows: int
    tokens: int
    learnt_tokens: int
    fewest_learnt: int
    rows_cut: int
    stops: dict[str, int]
    rendered_by: str
    rows_compared: int
    template_sha256: str | None
    tokens_sha256: str
    samples: tuple[Sample, ...]

    def document(self) -> dict[str, Any]:
        """JSON-ready, without any text of the rows: for a version's lineage."""
        facts = asdict(self)
        del facts["samples"]
        return facts

    def shown(self) -> dict[str, Any]:
        """JSON-ready, with the samples: for the tenant whose rows they are."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """In short."""
        stops = " or ".join(self.stops)
        cut = f"; {self.rows_cut} are cut and not taught to end" if self.rows_cut else ""
        return (
            f"{self.learnt_tokens} of {self.tokens} tokens of {self.rows} rows are learnt, at least "
            f"{self.fewest_learnt} of each; answers end with {stops}{cut}; prompts are rendered as by "
            f"{self.rendered_by}"
        )


@dataclass(frozen=True, slots=True)
class Base:
    """What is asked of a base. `stop_ids` are the tokens at which an engine stops, `renderings` those that were taken
    down when the base was prepared, None if none were.
    """

    tokenizer: Any
    stop_ids: frozenset[int]
    renderings: tuple[Rendering, ...] | None = None


def base_of(folder: Path, tokenizer: Any) -> Base:
    """What is asked of the base in a folder. Raises `InvalidInput` for a fingerprint that is none."""
    stop_ids = {tokenizer.eos_token_id}
    for name in ("generation_config.json", "config.json"):
        with loading(folder):
            file = folder / name
            stops = json.loads(file.read_text("utf-8")).get("eos_token_id") if file.is_file() else None
            stop_ids |= set(stops if isinstance(stops, list) else [stops])
    fingerprint = read_fingerprint(folder, max(tokenizer.get_vocab().values()) + 1)
    return Base(tokenizer, frozenset(stop_ids - {None}), fingerprint.renderings if fingerprint else None)


def masking_receipt(
    base: Base, examples: Sequence[Example], rows: Sequence[Encoded], ask_engine: AskEngine | None = None
) -> Receipt:
    """Check rows against the examples that they were made of, in the same order; `ask_engine` where there is one.

    Raises TrainingRefused when nothing is learnt of a row, an answer is not taught to end, or a prompt is rendered
    otherwise by the engine, or by the base's own template.
    """
    stops = _stops(base, rows)
    compared = _spread(list(zip(examples, rows, strict=True)), MAX_COMPARED)
    rendered_by = _compare(base, compared, ask_engine)
    template = base.tokenizer.chat_template
    learnt = [len(row.completion_ids) for row in rows]
    return Receipt(
        rows=len(rows),
        tokens=sum(len(row.prompt_ids) for row in rows) + sum(learnt),
        learnt_tokens=sum(learnt),
        fewest_learnt=min(learnt),
        rows_cut=sum(row.cut for row in rows),
        stops=stops,
        rendered_by=rendered_by,
        rows_compared=len(compared),
        template_sha256=hashlib.sha256(json.dumps(template).encode()).hexdigest() if template else None,
        tokens_sha256=_digest(rows),
        samples=tuple(_sample(base.tokenizer, row) for row in _spread(list(rows), SAMPLES)),
    )


def _stops(base: Base, rows: Sequence[Encoded]) -> dict[str, int]:
    """How many rows end with which token: the first of those at which an engine stops."""
    found: Counter[int] = Counter()
    for row in rows:
        if not row.completion_ids:
            raise TrainingRefused(f"nothing of line {row.line} would be learnt: no token of it is its answer's")
        stop = next((token for token in row.completion_ids if token in base.stop_ids), None)
        if stop is not None:
            found[stop] += 1
        elif not row.cut:
            raise TrainingRefused(f"the answer of line {row.line} would not be taught to end: no stop token is in it")
    if not found:
        raise TrainingRefused(
            "every answer is cut before its stop token, so the adapter would never stop; raise "
            "training.max_length_tokens or shorten the rows"
        )
    names = base.tokenizer.convert_ids_to_tokens(sorted(found))
    return {str(name): found[token] for token, name in zip(sorted(found), names, strict=True)}


def _compare(base: Base, compared: Sequence[tuple[Example, Encoded]], ask_engine: AskEngine | None) -> str:
    for example, row in compared:
        _require_same(row, _own_rendering(base.tokenizer, example), "the base's own chat template")
        if ask_engine is not None:
            _require_same(row, ask_engine(example), "the engine (its /tokenize)")
    if ask_engine is not None:
        return "the engine's /tokenize"
    if base.renderings is None:
        return "the base's own template"
    if take_renderings(base.tokenizer) != base.renderings:
        raise TrainingRefused(
            "the base's chat template or tokenizer is not the one that its fingerprint was taken with, which the "
            "gateway compares with engines; run `switchyard base prepare` again"
        )
    return "the template of the base's fingerprint, which the gateway compares with each engine"


def _require_same(row: Encoded, other: tuple[int, ...], by: str) -> None:
    if row.prompt_ids == other:
        return
    pairs = enumerate(zip(row.prompt_ids, other, strict=False))
    place = next((at for at, (one, two) in pairs if one != two), min(len(row.prompt_ids), len(other)))
    raise TrainingRefused(
        f"the prompt of line {row.line} would be trained otherwise than it is served: {len(row.prompt_ids)} tokens, "
        f"and {by} makes {len(other)} of it, which differ from token {place} on; start the engine with the base's own "
        "chat template, or prepare the base anew with the engine's"
    )


def _own_rendering(tokenizer: Any, example: Example) -> tuple[int, ...]:
    """By the library's own way from turns to tokens, which is not the one that rows are encoded in."""
    if isinstance(example.prompt, str):
        return tuple(tokenizer.encode(example.prompt))
    offered = {"tools": json.loads(example.tools)} if example.tools else {}
    turns = [as_rendered(turn) for turn in example.prompt]
    rendered = tokenizer.apply_chat_template(
        turns, tokenize=True, add_generation_prompt=True, return_dict=True, **offered
    )
    return tuple(rendered["input_ids"])


def _spread(things: list[Any], most: int) -> list[Any]:
    """The first, the last, and some between, in order."""
    if len(things) <= most:
        return things
    return [things[round(at * (len(things) - 1) / (most - 1))] for at in range(most)]


def _digest(rows: Sequence[Encoded]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.prompt_ids, row.completion_ids]).encode())
    return digest.hexdigest()


def _sample(tokenizer: Any, row: Encoded) -> Sample:
    prompt = tokenizer.decode(row.prompt_ids, skip_special_tokens=False)
    learnt = tokenizer.decode(row.completion_ids, skip_special_tokens=False)
    if len(prompt) > MAX_SHOWN_CHARACTERS:
        prompt = f"…{prompt[-MAX_SHOWN_CHARACTERS:]}"
    if len(learnt) > MAX_SHOWN_CHARACTERS:
        learnt = f"{learnt[:MAX_SHOWN_CHARACTERS]}…"
    return Sample(row.line, f"{prompt}{OPEN}{learnt}{CLOSE}", len(row.completion_ids))
