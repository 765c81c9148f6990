"""Write the data of the two examples: `python -m examples.generate [--out examples]`. Standard library only.

Deterministic: the same seed writes the same bytes. Training and held-out rows come from disjoint template lists and
no text appears in both.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from examples import phrases_sentiment as sentiment
from examples import phrases_triage as triage

SEED = 20261124
TRAIN_ROWS = 1400
HELDOUT_ROWS = 300
TRIAGE_SYSTEM = "Triage the ticket."

Row = dict[str, Any]
Draw = Callable[[random.Random], Row]


def fill(template: str, slots: Mapping[str, Sequence[str]], rng: random.Random) -> str:
    """Put one random filler into each slot and capitalise the first letter."""
    text = template.format_map({name: rng.choice(options) for name, options in slots.items()})
    return text[:1].upper() + text[1:]


def triage_row(issues: Mapping[str, Sequence[str]], urgency: Mapping[str, Sequence[str]], rng: random.Random) -> Row:
    """One chat row: a ticket of issue and urgency in either order; the answer is compact JSON."""
    team, priority = rng.choice(list(issues)), rng.choice(list(urgency))
    parts = [
        fill(rng.choice(issues[team]), triage.SLOTS, rng),
        fill(rng.choice(urgency[priority]), triage.SLOTS, rng),
    ]
    if rng.random() < 0.3:
        parts.reverse()
    ticket = rng.choice(triage.OPENERS) + " ".join(parts)
    answer = json.dumps({"team": team, "priority": priority}, separators=(",", ":"))
    return {
        "messages": [
            {"role": "system", "content": TRIAGE_SYSTEM},
            {"role": "user", "content": ticket},
            {"role": "assistant", "content": answer},
        ]
    }


def sentiment_row(templates: Mapping[str, Sequence[str]], rng: random.Random) -> Row:
    """One completion row: a review and the house's label for its mood."""
    label = rng.choice(list(templates))
    review = fill(rng.choice(templates[label]) + rng.choice(sentiment.ENDINGS), sentiment.SLOTS, rng)
    return {"prompt": f"Review: {review}\nMood:", "completion": f" {label}"}


def prompt_of(row: Row) -> str:
    """The text that the model sees of a row, answer excluded."""
    return str(row["prompt"]) if "prompt" in row else str(row["messages"][-2]["content"])


def unique_rows(draw: Draw, count: int, rng: random.Random, taken: set[str]) -> list[Row]:
    """Draw until `count` rows with prompts not in `taken` are found; `taken` grows."""
    rows: list[Row] = []
    for _ in range(count * 50):
        row = draw(rng)
        if prompt_of(row) not in taken:
            taken.add(prompt_of(row))
            rows.append(row)
            if len(rows) == count:
                return rows
    raise ValueError(f"only {len(rows)} of {count} different rows could be drawn; add templates or fillers")


def tasks() -> dict[str, tuple[Draw, Draw]]:
    """For each task its two sources of rows: training, held out."""
    return {
        "triage": (
            lambda rng: triage_row(triage.TRAIN_ISSUES, triage.TRAIN_URGENCY, rng),
            lambda rng: triage_row(triage.HELDOUT_ISSUES, triage.HELDOUT_URGENCY, rng),
        ),
        "sentiment": (
            lambda rng: sentiment_row(sentiment.TRAIN, rng),
            lambda rng: sentiment_row(sentiment.HELDOUT, rng),
        ),
    }


def write_jsonl(path: Path, rows: Sequence[Row]) -> None:
    """Compact JSON, one row a line, UTF-8, final newline."""
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def generate(out: Path, seed: int = SEED) -> None:
    """Write `<task>/train.jsonl` and `<task>/heldout.jsonl` under `out` for both tasks."""
    for task, (draw_train, draw_heldout) in tasks().items():
        rng, taken = random.Random(f"{seed}-{task}"), set[str]()
        (out / task).mkdir(parents=True, exist_ok=True)
        write_jsonl(out / task / "train.jsonl", unique_rows(draw_train, TRAIN_ROWS, rng, taken))
        write_jsonl(out / task / "heldout.jsonl", unique_rows(draw_heldout, HELDOUT_ROWS, rng, taken))


def main() -> None:
    """Parse the arguments and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder that gets <task>/*.jsonl")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    generate(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
