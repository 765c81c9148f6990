"""Where to begin: hyperparameters by goal and number of rows, with their reasons, and the recipe that has them.

Ranges are those of the LoRA and QLoRA papers and of "LoRA Without Regret" (Thinking Machines, 2025): all linear layers,
a rate of some ten times that of full tuning which hardly depends on the rank, small batches, one to three passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from registry.training.sections import Tuning
from trainer.data.formats import Format
from trainer.data.read import Dataset
from trainer.data.rows import Example, Message
from trainer.evaluation.metrics import json_exact
from trainer.quote.gpus import plan_gpus
from trainer.quote.memory import Load
from trainer.quote.shapes import Shape

Goal = Literal["style", "general", "domain", "most"]
RANKS: dict[Goal, int] = {"style": 8, "general": 16, "domain": 32, "most": 64}
GOALS: dict[Goal, str] = {
    "style": "a format, a tone, one kind of label",
    "general": "a usual task",
    "domain": "a field with terms and habits of its own",
    "most": "the most that rows can give, and many of them",
}
MOST_LABELS = 50
"""Different answers that are still a set of labels."""
ROWS_A_LABEL = 5
CHARACTERS_A_TOKEN = 3
"""Of most languages' texts, on the safe side."""
USUAL_LENGTH = 2_048
"""Tokens, where the rows are not known."""
AT_ONCE = 4
SMALL_STEPS = "LoRA loses more than full tuning with large ones"
DPO_RATE = (1e-5, "pairs want a twentieth of the rate of answers")


@dataclass(frozen=True, slots=True)
class Volume:
    """What so many rows are good for, from `least` up to the next one's."""

    least: int
    rows: str
    good_for: str
    mind: str


VOLUMES = (
    Volume(0, "fewer than 50", "nothing: use them as examples in the prompt", "a model learns them by heart"),
    Volume(50, "50–200", "format, style, a trial", "watch for overfitting; every row must be right"),
    Volume(200, "200–1,000", "a domain, classification", "balance the categories"),
    Volume(1_000, "1,000–10,000", "general assistants, complex tasks", "have all kinds of requests in it"),
    Volume(10_000, "10,000 and more", "specialists with high demands", "check quality by machine"),
)


def volume_of(rows: int) -> Volume:
    """The line of the table that so many rows fall into."""
    return max((one for one in VOLUMES if one.least <= rows), key=lambda one: one.least)


@dataclass(frozen=True, slots=True)
class Choice:
    """One key of a recipe: section, name, value, and why."""

    section: str
    key: str
    value: int | float | str | bool
    why: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What the rows look like: `metric` is None where no answer is right by itself, `longest` counts characters and is
    0 where unknown.
    """

    format: Format = "auto"
    metric: Literal["json_exact", "label_exact"] | None = None
    longest: int = 0

    @property
    def pairs(self) -> bool:
        """Whether rows are pairs of answers, one better than the other."""
        return self.format == "preference"


def look_at(data: Dataset) -> Answers:
    """JSON answers are compared as JSON; a few texts, each there several times, as labels; others by their loss."""
    pairs = [example for preference in data.preferences for example in preference.pair]
    longest = max(map(_characters, pairs or data.examples))
    return Answers(data.format, None if pairs else _metric(data.examples), longest)


def _characters(example: Example) -> int:
    """Of all that is rendered of an example, but for what its template adds."""
    return len(_text(example.prompt)) + len(example.answer.text) + len(example.tools)


def _text(prompt: str | Sequence[Message]) -> str:
    return prompt if isinstance(prompt, str) else "".join(turn.text for turn in prompt)


def _metric(examples: Sequence[Example]) -> Literal["json_exact", "label_exact"] | None:
    if any(example.tool_calls for example in examples):  # a call is no text that is right by itself
        return None
    texts = [example.completion for example in examples]
    if all(text.lstrip()[:1] in ("{", "[") and json_exact(text, text) for text in texts):
        return "json_exact"
    counts = Counter(text.strip() for text in texts)
    labels = len(counts) <= MOST_LABELS and len(texts) >= ROWS_A_LABEL * len(counts)
    return "label_exact" if labels else None


def choices(rows: int, goal: Goal = "general", answers: Answers | None = None) -> list[Choice]:
    """Hyperparameters to begin with."""
    answers = answers or Answers()
    rank = min(RANKS[goal], 16) if rows < 200 else RANKS[goal]
    step = 4 if rows < 200 else 8 if rows < 1_000 else 16
    found = [
        Choice("lora", "r", rank, _why_rank(rows, goal)),
        Choice("lora", "alpha", 2 * rank, "twice the rank: updates keep their size when the rank is changed"),
        Choice("lora", "dropout", *_dropout(rows)),
        Choice("lora", "target_modules", "all-linear", "the MLP layers matter most; attention alone learns less"),
        *([Choice("training", "method", "dpo", "rows are pairs of answers")] if answers.pairs else []),
        Choice("training", "epochs", *((1, "pairs are learnt quickly") if answers.pairs else _epochs(rows))),
        Choice("training", "batch_size", AT_ONCE, "in memory at once; fewer, where the GPU is small"),
        Choice("training", "gradient_accumulation_steps", step // AT_ONCE, f"{step} rows a step: {SMALL_STEPS}"),
        Choice("training", "learning_rate", *(DPO_RATE if answers.pairs else _rate(rows))),
        Choice("training", "schedule", "cosine", "the rate falls to zero, which settles the weights"),
        Choice("training", "warmup_ratio", 0.05, "the first steps are small, while gradients are wild"),
        Choice("training", "gradient_checkpointing", True, "a third slower; false, where the GPU has room"),
        _length(answers.longest),
    ]
    if rows < 1_000:
        found.append(Choice("training", "weight_decay", 0.01, "against overfitting, below 1,000 rows"))
    if rows < 10_000:
        why = "keep the weights of the lowest held-out loss"
        found.append(Choice("training", "early_stopping_patience", 3, why))
    return found


def _length(characters: int) -> Choice:
    """A power of two with room for the longest row."""
    if not characters:
        why = "the longest row, which is not known; `switchyard data stats` counts its tokens"
        return Choice("training", "max_length_tokens", USUAL_LENGTH, why)
    tokens = max(128, 1 << (characters // CHARACTERS_A_TOKEN).bit_length())
    return Choice(
        "training",
        "max_length_tokens",
        min(tokens, 131_072),
        f"the longest row has {characters:,} characters; `switchyard quote` counts tokens",
    )


def starting_recipe(name: tuple[str, str], data: Path, answers: Answers, found: Sequence[Choice]) -> str:
    """The text of a RECIPE.toml for tenant and adapter; its reasons stand behind its values."""
    import tomli_w

    lines = ["[adapter]", f'tenant = "{name[0]}"', f'name = "{name[1]}"', "", "[data]"]
    lines += [tomli_w.dumps({"train": str(data)}).strip(), f'format = "{answers.format}"']
    for section in ("lora", "training"):
        lines += ["", f"[{section}]"]
        lines += [
            f"{tomli_w.dumps({one.key: one.value}).strip()}  # {one.why}" for one in found if one.section == section
        ]
    if answers.metric is not None:
        lines += ["", "[evaluation]", f'metric = "{answers.metric}"']
    return "\n".join(lines) + "\n"


TUNINGS: tuple[Tuning, ...] = ("lora", "qlora")


def gpu_lines(shape: Shape, answers: Answers, found: Sequence[Choice]) -> list[tuple[str, str, str]]:
    """For LoRA and QLoRA on this model, with these hyperparameters: the kind, the fewest GPUs, the recommended ones."""
    from trainer.quote.thumb import shown

    chosen: dict[str, Any] = {one.key: one.value for one in found}
    load = Load(
        rank=chosen["r"],
        batch=chosen["batch_size"],
        seq=chosen["max_length_tokens"],
        checkpointing=chosen["gradient_checkpointing"],
        pairs=answers.pairs,
        dropout=chosen["dropout"] > 0,
    )
    plans = [plan_gpus(shape, replace(load, tuning=tuning)) for tuning in TUNINGS]
    return [(plan.load.tuning, shown(plan.minimum), shown(plan.recommended)) for plan in plans]


def _why_rank(rows: int, goal: Goal) -> str:
    if rows < 200 and RANKS[goal] > 16:
        return f"{RANKS[goal]} for {GOALS[goal]}, but few rows do not fill it"
    return f"for {GOALS[goal]}"


def _dropout(rows: int) -> tuple[float, str]:
    if rows < 200:
        return 0.1, "few rows are learnt by heart without it"
    if rows < 1_000:
        return 0.05, "against overfitting, below 1,000 rows"
    return 0.0, "with so many rows it only slows learning"


def _epochs(rows: int) -> tuple[int, str]:
    if rows < 1_000:
        return 2, "below 1,000 rows more passes overfit; raise it while the held-out loss still falls"
    if rows < 10_000:
        return 3, "one to three passes are usual; watch the held-out loss"
    return 1, "with so many rows one pass shows enough"


def _rate(rows: int) -> tuple[float, str]:
    if rows < 10_000:
        return 2e-4, "some ten times the rate of full tuning; 1e-4 to 3e-4 is usual"
    return 1e-4, "long trainings want the lower end of 1e-4 to 3e-4"
