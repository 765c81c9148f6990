"""Tokens a second of `trainer.methods.train` and of a plain TRL script, on the same rows, step by step in turns.

    python -m tests.bars.support.training_speed --base FOLDER --rows examples/triage/train.jsonl --steps 16

The last line is one JSON document; `tokens_ratio` is ours by the script's, of the median of pairs of steps: a shared
machine is twice as fast in one minute as in the next, and a step of one side is held against the step of the other
that came right after it, on the same rows. The first pair, which has loading in it, does not count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from threading import Semaphore
from typing import Any

from registry.training.sections import TrainingOptions
from trainer.making import set_environment
from trainer.watch import Order

BATCH_ROWS, MAX_LENGTH_TOKENS, RATE = 8, 512, 5e-4
LONG = 1_000_000
"""Turns for who has nobody beside."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One side. `tokens` are those of all its steps: prompts count, padding does not. `losses` are of its steps, in
    nats per answer token.
    """

    tokens: int
    step_seconds: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(slots=True)
class Turn:
    """The turns of one of two sides, of which one runs at a time, for a step."""

    mine: Semaphore
    other: Semaphore
    seconds: list[float] = field(default_factory=list)
    began_s: float = 0.0

    def begin(self) -> None:
        """Wait for the first turn."""
        self.mine.acquire()
        self.began_s = time.perf_counter()

    def step_is_over(self) -> None:
        """Let the other side make its step, and wait until it has."""
        self.seconds.append(time.perf_counter() - self.began_s)
        self.other.release()
        self.begin()

    def leave(self) -> None:
        """Let the other side go on for ever."""
        self.other.release(LONG)


def plain_trl(base: Path, rows: Path, steps: int, turn: Turn) -> Trained:
    """What people write who use TRL alone: rows as a table of chats, a LoRA configuration, and `SFTTrainer.train`."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class InTurns(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            turn.step_is_over()

    chats = [json.loads(line)["messages"] for line in rows.read_text("utf-8").splitlines()]
    table = Dataset.from_list([{"prompt": chat[:-1], "completion": chat[-1:]} for chat in chats])
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
            args=SFTConfig(
                output_dir=scratch,
                max_steps=steps,
                per_device_train_batch_size=BATCH_ROWS,
                learning_rate=RATE,
                warmup_steps=0.05,
                lr_scheduler_type="cosine",
                max_length=MAX_LENGTH_TOKENS,
                gradient_checkpointing=False,
                bf16=False,
                use_cpu=True,
                seed=0,
                data_seed=0,
                dataloader_pin_memory=False,
                include_num_input_tokens_seen="non_padding",
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=table,
            processing_class=AutoTokenizer.from_pretrained(base),
            peft_config=LoraConfig(r=8, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[InTurns()],
        )
        trainer.train()
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return Trained(int(trainer.state.num_input_tokens_seen), tuple(turn.seconds), tuple(losses))


def ours(base: Path, rows: Path, steps: int, turn: Turn) -> Trained:
    """The same by a recipe."""
    from trainer.data.encode import Rules, encode_all
    from trainer.data.read import read_data
    from trainer.methods.loading import load_base
    from trainer.methods.rows import Rows
    from trainer.methods.training import train
    from trainer.watch import StepMetrics, Unwatched

    losses: list[float] = []

    class Noting(Unwatched):
        def metrics(self, measured: StepMetrics) -> None:
            if measured.train_loss is not None:
                losses.append(measured.train_loss)

        def after(self, step: int, total_steps: int) -> Order:
            turn.step_is_over()
            return "go"

    section = {
        "max_steps": steps,
        "batch_size": BATCH_ROWS,
        "learning_rate": RATE,
        "max_length_tokens": MAX_LENGTH_TOKENS,
    }
    recipe = TrainingOptions.model_validate({"training": section, "evaluation": {}})
    loaded = load_base(base)
    encoded = encode_all(
        loaded.tokenizer, read_data(rows, "chat").examples, file=str(rows), rules=Rules(MAX_LENGTH_TOKENS)
    )
    trained = train(loaded, Rows(encoded), recipe, Noting())
    return Trained(trained.trained_tokens, tuple(turn.seconds), tuple(losses))


def tokens_ratio(base: Path, rows: Path, *, steps: int) -> dict[str, Any]:
    """Both sides at once, in turns."""
    first, second = Semaphore(1), Semaphore(0)

    def trained(side: Callable[[Path, Path, int, Turn], Trained], turn: Turn) -> Trained:
        turn.begin()
        try:
            return side(base, rows, steps, turn)
        finally:
            turn.leave()

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(trained, ours, Turn(first, second))
        other = pool.submit(trained, plain_trl, Turn(second, first))
        mine, plain = one.result(), other.result()
    pairs = list(zip(mine.step_seconds, plain.step_seconds, strict=True))[1:]
    return {
        "tokens_ratio": round(mine.tokens / plain.tokens * median(plain_s / mine_s for mine_s, plain_s in pairs), 3),
        "tokens_per_second": {"ours": _per_second(mine), "plain_trl": _per_second(plain)},
        # The script learns what the template writes after the stop token too: one line break, in ChatML.
        "tokens_of_a_row_fewer": (plain.tokens - mine.tokens) / (steps * BATCH_ROWS),
        "largest_difference_of_losses": round(_apart(mine.losses, plain.losses), 5),
        "trainings": {"ours": asdict(mine), "plain_trl": asdict(plain)},
    }


def _per_second(trained: Trained) -> float:
    """Tokens, at the pace of the median step."""
    return round(trained.tokens / len(trained.step_seconds) / median(trained.step_seconds[1:]), 1)


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(mine - its) for mine, its in zip(one, other, strict=True))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="chats of one question and one answer")
    parser.add_argument("--steps", type=int, default=16, help="of each side, two at least")
    given = parser.parse_args()
    set_environment()
    print(json.dumps(tokens_ratio(given.base, given.rows, steps=given.steps)))


if __name__ == "__main__":
    main()
