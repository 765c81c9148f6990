"""Is what was written what was meant? The same texts, asked of the adapter on its base and of what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.adapters.effect_proof import read_proof
from trainer.errors import TrainerError
from trainer.forward import token_logprobs
from trainer.probes import Text
from trainer.prove import encode_texts, general_texts

TOLERANCE_NATS = {"float32": 1e-3, "f32": 1e-3, "bfloat16": 0.05, "bf16": 0.05, "f16": 0.01, "q8_0": 0.1}
"""How far log-probabilities may move in the mean by rounding the merged weights to a type. Weights in a wrong place or
order move them by nats.
"""
SINGLE = 20
"""So many times further may a single one move: unlikely tokens are the ones that move most."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was compared: texts, and by how much log-probabilities differ, in nats."""

    texts: int
    mean_difference_nats: float
    largest_difference_nats: float


def texts_for(version_folder: Path, tokenizer: Any) -> list[Text]:
    """Those of the version's effect proof, or general ones when it has none."""
    proof = read_proof(version_folder)
    return [probe.token_ids for probe in proof.probes] if proof else encode_texts(tokenizer, general_texts())


def compare(meant: Sequence[Sequence[float]], model: Any, texts: Sequence[Text], kind: str) -> Check:
    """Ask `model` what was `meant`. Raises TrainerError when it answers otherwise than weights of this kind may."""
    found = token_logprobs(model, texts)
    apart = [
        abs(one - other)
        for row, others in zip(meant, found, strict=True)
        for one, other in zip(row, others, strict=True)
    ]
    mean, largest, allowed = sum(apart) / len(apart), max(apart), TOLERANCE_NATS[kind]
    if not (mean <= allowed and largest <= SINGLE * allowed):  # also where they are no numbers
        raise TrainerError(
            f"what was written is not what was meant: log-probabilities differ by {mean:.3f} nats in the mean and "
            f"{largest:.3f} at most, and rounding to {kind} may move them by {allowed:g} and {SINGLE * allowed:g}; "
            "export in a finer type"
        )
    return Check(len(texts), round(mean, 5), round(largest, 5))
