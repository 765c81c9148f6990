"""A recipe for the tiny base, with rows in `train.jsonl` and `heldout.jsonl` beside it."""

from __future__ import annotations

RECIPE = """
[adapter]
tenant = "acme"
name = "tiny"
[data]
train = "train.jsonl"
heldout = "heldout.jsonl"
format = "chat"
[lora]
r = {rank}
[training]
max_steps = {steps}
learning_rate = {rate}
max_length_tokens = {max_length_tokens}
[evaluation]
metric = "label_exact"
{evaluation}
"""


def tiny_recipe(
    *, steps: int = 3, rate: float = 1e-1, rank: int = 4, max_length_tokens: int = 300, evaluation: str = ""
) -> str:
    """Its text; `evaluation` are further lines of that section."""
    return RECIPE.format(steps=steps, rate=rate, rank=rank, max_length_tokens=max_length_tokens, evaluation=evaluation)
