"""The quote: what a recipe will take on these rows and this base, told before it is trained.

Tokens and memory are computed, time is measured (`bench.py`) or unknown, money is counted where prices are given.
Everything that is taken for granted is among `assumptions`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from registry.break_even import break_even, request_nano
from registry.money import nano_to_dollars
from trainer.methods.arguments import evaluate_every
from trainer.quote.facts import PERCENTILES, Bench, Prices, RowFacts
from trainer.quote.memory import Load, Memory, evaluation_bytes, memory, trainable_parameters
from trainer.quote.shapes import Shape
from trainer.recipe import RecipeModel

HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds of the training steps: at the mean pace of the bench, and at those of its fastest and slowest step."""

    seconds: float
    fastest_seconds: float
    slowest_seconds: float
    tokens_per_second: float
    device: str


@dataclass(frozen=True, slots=True)
class BreakEven:
    """After how many requests a training has paid for itself against an API asked by prompt alone.

    Nano-dollars a request; `requests` is None when the API is no dearer, so that it never does.
    """

    api_nano: int
    own_nano: int
    requests: int | None


@dataclass(frozen=True, slots=True)
class Quote:
    """What a training will take. `time`, `cost_nano` and `break_even` are None where they cannot be known.

    `trained_tokens` are of the whole training, prompts too, padding not. `evaluation_bytes` is what the base takes as
    it is served, on which results are measured. `fits` is None when the device's memory is unknown, `peak_bytes` (what
    was in use at most while steps were timed) when none were.
    """

    rows: RowFacts
    steps: int
    trained_tokens: int
    trainable_parameters: int
    parameters: int
    memory: Memory
    evaluation_bytes: int
    memory_bytes: int | None
    peak_bytes: int | None
    fits: bool | None
    time: Time | None
    cost_nano: int | None
    break_even: BreakEven | None
    assumptions: tuple[str, ...]

    @property
    def needed_bytes(self) -> int:
        """The most that is needed at once: for training, or to measure results."""
        return max(self.memory.total, self.evaluation_bytes)

    def document(self) -> dict[str, Any]:
        """JSON-ready, for a job. Bytes, seconds, dollars as text; what is unknown is null."""
        break_even = self.break_even
        return {
            **self.facts(),
            "memory": {**asdict(self.memory), "total": self.memory.total},
            "memory_bytes": self.memory_bytes,
            "needed_bytes": self.needed_bytes,
            "peak_bytes": self.peak_bytes,
            "evaluation_bytes": self.evaluation_bytes,
            "fits": self.fits,
            "findings": [asdict(one) for one in self.rows.findings],
            "time": None if self.time is None else {key: _rounded(value) for key, value in asdict(self.time).items()},
            "cost_usd": None if self.cost_nano is None else nano_to_dollars(self.cost_nano),
            "break_even": break_even
            and {
                "api_usd_per_request": nano_to_dollars(break_even.api_nano),
                "own_usd_per_request": nano_to_dollars(break_even.own_nano),
                "requests": break_even.requests,
            },
            "assumptions": list(self.assumptions),
        }

    def facts(self) -> dict[str, Any]:
        """The part that recipe, rows and base decide alone: it may stand in a version's lineage."""
        rows = self.rows
        return {
            "rows": len(rows.lengths),
            "heldout_rows": rows.heldout,
            "prompt_tokens": rows.prompt_tokens,
            "answer_tokens": rows.answer_tokens,
            "longest_row_tokens": rows.longest,
            "row_tokens_percentiles": {str(percent): rows.percentile(percent) for percent in PERCENTILES},
            "truncated_rows": rows.cut,
            "copies": rows.copies,
            "heldout_rows_seen": rows.seen,
            "steps": self.steps,
            "trained_tokens": self.trained_tokens,
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
        }


def quote(
    recipe: RecipeModel, rows: RowFacts, base: Shape, bench: Bench | None = None, prices: Prices | None = None
) -> Quote:
    """Quote a recipe on rows and a base; `bench` and `prices` where they are known.

    Raises BaseModelError for targets that the base has not.
    """
    prices = prices or Prices()
    load = load_of(recipe, rows, on_cpu=bench is None or bench.device.startswith("cpu"))
    need = memory(base, load)
    steps = steps_of(recipe, rows)
    tokens = round(rows.tokens * steps / _steps_of_a_pass(recipe, rows))
    time = None if bench is None else _time(tokens + _validation(recipe, rows, steps), bench)
    cost = None if time is None or prices.hour_nano is None else round(prices.hour_nano * time.seconds / HOUR_S)
    room = None if bench is None else bench.memory_bytes
    served = evaluation_bytes(base, load)
    return Quote(
        rows=rows,
        steps=steps,
        trained_tokens=tokens,
        trainable_parameters=trainable_parameters(base, load),
        parameters=base.parameters,
        memory=need,
        evaluation_bytes=served,
        memory_bytes=room,
        peak_bytes=None if bench is None else bench.peak_bytes,
        fits=None if room is None else max(need.total, served) <= room,
        time=time,
        cost_nano=cost,
        break_even=_break_even(rows, prices, cost),
        assumptions=tuple(_assumptions(load, bench, prices)),
    )


def steps_of(recipe: RecipeModel, rows: RowFacts) -> int:
    """Optimiser steps; the last one of a pass may see fewer rows, as transformers' Trainer has it."""
    if recipe.training.max_steps is not None:
        return recipe.training.max_steps
    return math.ceil((recipe.training.epochs or 1) * _steps_of_a_pass(recipe, rows))


def _steps_of_a_pass(recipe: RecipeModel, rows: RowFacts) -> int:
    training = recipe.training
    batches = math.ceil(_sequences(recipe, rows) / training.batch_size)
    return math.ceil(batches / training.gradient_accumulation_steps)


def _sequences(recipe: RecipeModel, rows: RowFacts) -> int:
    """Packed rows are taken to fill them."""
    training = recipe.training
    return math.ceil(rows.tokens / training.max_length_tokens) if training.packing else len(rows.lengths)


def load_of(recipe: RecipeModel, rows: RowFacts, *, on_cpu: bool) -> Load:
    """What is in memory at once: a batch as wide as the longest row, in the precision that the recipe asks for."""
    training, lora = recipe.training, recipe.lora
    precision = {"float32": 4, "bfloat16": 2, "auto": 4 if on_cpu else 2}[training.precision]
    return Load(
        tuning=recipe.model.tuning,
        rank=lora.r,
        targets=lora.target_modules,
        virtual_tokens=recipe.prompt.virtual_tokens,
        batch=training.batch_size,
        seq=training.max_length_tokens if training.packing else rows.longest,
        checkpointing=training.gradient_checkpointing,
        pairs=training.method == "dpo",
        precision_bytes=precision,
        eight_bit=training.optimizer == "paged_adamw_8bit" and not on_cpu,
        dropout=lora.dropout > 0,
    )


def _validation(recipe: RecipeModel, rows: RowFacts, steps: int) -> float:
    """Trained tokens that take as long as measuring the held-out rows meanwhile does: no gradients are needed."""
    every = evaluate_every(recipe, _sequences(recipe, rows), min(rows.heldout, recipe.evaluation.max_rows))
    times = 0 if every is None else math.ceil(steps / every)  # there is one after the last step too
    return times * rows.heldout_tokens * (1 / 3 if recipe.model.tuning == "full" else 1 / 2)


def _time(tokens: float, bench: Bench) -> Time:
    return Time(
        tokens / bench.tokens_per_second,
        tokens / bench.fastest,
        tokens / bench.slowest,
        bench.tokens_per_second,
        bench.device,
    )


def _break_even(rows: RowFacts, prices: Prices, cost_nano: int | None) -> BreakEven | None:
    if prices.api is None or prices.own is None or cost_nano is None:
        return None
    count = len(rows.lengths)
    prompt, answer = Fraction(rows.prompt_tokens, count), Fraction(rows.answer_tokens, count)
    api = request_nano(prompt + prices.prompt_only_tokens, answer, prices.api)
    own = request_nano(prompt, answer, prices.own)
    return BreakEven(round(api), round(own), break_even(cost_nano, api, own))


def _assumptions(load: Load, bench: Bench | None, prices: Prices) -> list[str]:
    said = [
        f"memory: {load.batch} rows at once, all as long as the longest ({load.seq} tokens)",
        "memory: 0.8 GB for drivers and libraries, and 5 % lost between blocks",
    ]
    if bench is None:
        said.append("time: not measured, so there is no time and no cost")
    else:
        said.append(
            f"time: {len(bench.step_seconds)} measured steps on {bench.device}, a first one left out; of the training "
            "and its measurements meanwhile, without loading, evaluation and proof"
        )
    if prices.hour_nano is None:
        said.append("cost: no price per hour of the machine is given")
    if prices.api is None or prices.own is None:
        said.append("break-even: it needs prices of an API and of serving here")
    elif prices.prompt_only_tokens == 0:
        said.append("break-even: the API reads the same prompts, without added instructions or examples")
    return said


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
