"""Does a loaded adapter do what it did when it was trained? The engine's answer to the publisher's effect proof.

The proof holds probe prompts (token ids) and, at the positions where base and adapter differ most, the log-probability
of the prompt's own next token under each. After a load the served-minus-base differences `s` are projected on the
expected ones `e`: `strength = Σ s·e / Σ e·e`. 1 is the trained effect, 0 is none; we ask for at least one half, which
holds across dtypes and tensor parallelism where an absolute tolerance would not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIN_STRENGTH = 0.5
POSITIONS_A_PROBE = 2


@dataclass(frozen=True, slots=True)
class Difference:
    """One question to the engine: how much likelier, in nats, does the adapter make `token` after `prefix`?"""

    prefix: tuple[int, ...]
    token: int
    expected: float


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt. `positions` index into `token_ids`; the two lists of log-probabilities are as long as it."""

    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    base_logprobs: tuple[float, ...]
    adapter_logprobs: tuple[float, ...]

    def strongest(self) -> list[Difference]:
        """The positions at which the adapter changes most: enough to tell it from its absence, cheap enough to ask."""
        differences = [
            Difference(self.token_ids[:position], self.token_ids[position], adapter - base)
            for position, base, adapter in zip(self.positions, self.base_logprobs, self.adapter_logprobs, strict=True)
        ]
        return sorted(differences, key=lambda difference: -abs(difference.expected))[:POSITIONS_A_PROBE]


@dataclass(frozen=True, slots=True)
class EffectProof:
    """What the trainer wrote at publish time."""

    probes: tuple[Probe, ...]
    noise: float
    """Standard deviation of a log-probability between two runs of the same model, in nats."""


class ProofUnreadable(Exception):
    """`effect_proof.json` is there and is not a proof."""


def read_proof(folder: Path) -> EffectProof | None:
    """The proof in an adapter's folder; `None` when it has none. Raises `ProofUnreadable`."""
    path = folder / "effect_proof.json"
    if not path.exists():
        return None
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        probes = tuple(
            Probe(
                tuple(int(token) for token in probe["token_ids"]),
                tuple(int(position) for position in probe["positions"]),
                tuple(float(value) for value in probe["base_logprobs"]),
                tuple(float(value) for value in probe["adapter_logprobs"]),
            )
            for probe in document["probes"]
        )
        proof = EffectProof(probes, float(document["noise"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ProofUnreadable(f"effect_proof.json is not a proof: {error!r}") from error
    for probe in probes:
        lengths = {len(probe.positions), len(probe.base_logprobs), len(probe.adapter_logprobs)}
        if len(lengths) != 1 or not all(0 < position < len(probe.token_ids) for position in probe.positions):
            raise ProofUnreadable("effect_proof.json has positions and log-probabilities that do not fit together")
    return proof


def strength(served_minus_base: Sequence[float], expected: Sequence[float]) -> float:
    """`Σ s·e / Σ e·e`: 1 when the served effect is the trained one, 0 when there is none."""
    norm = sum(value * value for value in expected)
    if norm == 0:
        return 0.0
    return sum(s * e for s, e in zip(served_minus_base, expected, strict=True)) / norm
