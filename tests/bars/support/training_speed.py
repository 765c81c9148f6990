"""Tokens a second of `trainer.methods.train` and of a plain TRL script, on the same rows, in turns in one process.

    python -m tests.bars.support.training_speed --base FOLDER --rows examples/triage/train.jsonl --steps 8 --rounds 3

The last line is one JSON document; `tokens_ratio` is ours by the script's, each at its fastest round, so that what else
runs on the machine counts little. Only the steps are timed, not the loading.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.training.sections import TrainingOptions
from trainer.making import set_environment

BATCH_ROWS, MAX_LENGTH_TOKENS, RATE = 8, 512, 5e-4


@dataclass(frozen=True, slots=True)
class Speed:
    """One round of one side. `losses` are of its steps, in nats per answer token."""

    tokens: int
    seconds: float
    losses: tuple[float, ...]

    @property
    def tokens_per_second(self) -> float:
        """Prompts count, padding does not."""
        return self.tokens / self.seconds


def plain_trl(base: Path, rows: Path, steps: int) -> Speed:
    """What people write who use TRL alone: rows as a table of chats, a LoRA configuration, and `SFTTrainer.train`."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

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
        )
        outcome = trainer.train()
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return Speed(int(trainer.state.num_input_tokens_seen), float(outcome.metrics["train_runtime"]), tuple(losses))


def ours(base: Path, rows: Path, steps: int) -> Speed:
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
    return Speed(trained.trained_tokens, trained.seconds, tuple(losses))


def tokens_ratio(base: Path, rows: Path, *, steps: int, rounds: int) -> dict[str, Any]:
    """Both sides in turns; who begins changes with every round."""
    found: dict[str, list[Speed]] = {"ours": [], "plain_trl": []}
    sides = [("ours", ours), ("plain_trl", plain_trl)]
    for at in range(rounds):
        for name, side in sides if at % 2 == 0 else reversed(sides):
            found[name].append(side(base, rows, steps))
    best = {name: max(speed.tokens_per_second for speed in speeds) for name, speeds in found.items()}
    first = {name: speeds[0] for name, speeds in found.items()}
    return {
        "tokens_ratio": round(best["ours"] / best["plain_trl"], 3),
        "tokens_per_second": {name: round(value, 1) for name, value in best.items()},
        # The script learns what the template writes after the stop token too: one line break, in ChatML.
        "tokens_of_a_row_fewer": (first["plain_trl"].tokens - first["ours"].tokens) / (steps * BATCH_ROWS),
        "largest_difference_of_losses": round(
            max(abs(one - two) for one, two in zip(first["ours"].losses, first["plain_trl"].losses, strict=True)), 5
        ),
        "rounds": {name: [asdict(speed) for speed in speeds] for name, speeds in found.items()},
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="chats of one question and one answer")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    set_environment()
    print(json.dumps(tokens_ratio(given.base, given.rows, steps=given.steps, rounds=given.rounds)))


if __name__ == "__main__":
    main()
