"""The effect proof that travels with a version: what the adapter changes, in the trainer's own measurement.

It holds probe prompts (token ids) and, at the positions where base and adapter differ most, the log-probability of the
prompt's own next token under each. The trainer package writes it, at publish or later (`adapters prove`); the registry
refuses one that cannot be read, and the gateway asks the engine for the same differences after each load.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.errors import AdapterRefused, Finding

EFFECT_PROOF_FILE = "effect_proof.json"
FORMAT = 1
POSITIONS_A_PROBE = 2
MAX_PROBES, MAX_PROBE_TOKENS = 16, 256
NOISE_NATS = 0.02
"""What a log-probability moves between float32 and bfloat16 kernels of the same weights."""
LEAST_EFFECT_IN_NOISES = 5.0
"""An adapter whose largest effect is smaller than this many times the noise cannot be told from its base."""


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

    @property
    def largest_effect(self) -> float:
        """Largest |adapter - base|, in nats."""
        differences = zip(self.adapter_logprobs, self.base_logprobs, strict=True)
        return max((abs(adapter - base) for adapter, base in differences), default=0.0)

    def strongest(self) -> list[Difference]:
        """The positions at which the adapter changes most: enough to tell it from its absence, cheap enough to ask."""
        differences = [
            Difference(self.token_ids[:position], self.token_ids[position], adapter - base)
            for position, base, adapter in zip(self.positions, self.base_logprobs, self.adapter_logprobs, strict=True)
        ]
        return sorted(differences, key=lambda difference: -abs(difference.expected))[:POSITIONS_A_PROBE]


@dataclass(frozen=True, slots=True)
class EffectProof:
    """What the trainer package measured."""

    probes: tuple[Probe, ...]
    noise: float
    """Standard deviation of a log-probability between two runs of the same model, in nats."""

    @property
    def largest_effect(self) -> float:
        """Largest |adapter - base| of all probes, in nats."""
        return max(probe.largest_effect for probe in self.probes)

    @property
    def indistinguishable(self) -> bool:
        """Whether the effect is lost in the noise: no engine can be held to it."""
        return is_indistinguishable(self.largest_effect, self.noise)


def is_indistinguishable(largest_effect: float, noise: float) -> bool:
    """Whether a largest effect, in nats, is too small to be told from noise."""
    return largest_effect < LEAST_EFFECT_IN_NOISES * noise


def proof_bytes(probes: Sequence[Probe]) -> bytes:
    """The file's bytes, the same for the same probes."""
    document = {"format": FORMAT, "noise": NOISE_NATS, "probes": [asdict(probe) for probe in probes]}
    return (json.dumps(document, sort_keys=True) + "\n").encode()


def write_proof(probes: Sequence[Probe], folder: Path) -> Path:
    """Write the proof beside the adapter's weights and return its path."""
    path = folder / EFFECT_PROOF_FILE
    path.write_bytes(proof_bytes(probes))
    return path


def read_proof(folder: Path) -> EffectProof | None:
    """The proof in an adapter's folder; `None` when it has none. Raises `AdapterRefused`."""
    path = folder / EFFECT_PROOF_FILE
    return parse_proof(path.read_bytes()) if path.exists() else None


def parse_proof(data: bytes) -> EffectProof:
    """The proof that `proof_bytes` wrote. Raises `AdapterRefused`."""
    try:
        document: dict[str, Any] = json.loads(data)
        proof = EffectProof(tuple(_probe(probe) for probe in document["probes"]), float(document["noise"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(repr(error)) from error
    if not 0 < len(proof.probes) <= MAX_PROBES:
        raise _refused(f"{len(proof.probes)} probes; expected 1 to {MAX_PROBES}")
    return proof


def check_proof(proof: EffectProof, vocab_size: int) -> None:
    """Refuse a proof that an engine of this base could not be asked. Raises `AdapterRefused`."""
    for probe in proof.probes:
        if not all(0 <= token < vocab_size for token in probe.token_ids):
            raise _refused(f"token id {max(probe.token_ids)} in a vocabulary of {vocab_size}")


def _probe(document: dict[str, Any]) -> Probe:
    probe = Probe(
        tuple(int(token) for token in document["token_ids"]),
        tuple(int(position) for position in document["positions"]),
        tuple(float(value) for value in document["base_logprobs"]),
        tuple(float(value) for value in document["adapter_logprobs"]),
    )
    if not len(probe.positions) == len(probe.base_logprobs) == len(probe.adapter_logprobs):
        raise ValueError("positions and log-probabilities differ in number")
    if not all(math.isfinite(value) for value in (*probe.base_logprobs, *probe.adapter_logprobs)):
        raise ValueError("a log-probability is not finite")
    if len(probe.token_ids) > MAX_PROBE_TOKENS:
        raise ValueError(f"a probe of {len(probe.token_ids)} tokens; expected at most {MAX_PROBE_TOKENS}")
    if not all(0 < position < len(probe.token_ids) for position in probe.positions):
        raise ValueError(f"positions {probe.positions} do not fit {len(probe.token_ids)} tokens")
    return probe


def _refused(found: str) -> AdapterRefused:
    expected = "an effect proof as the trainer writes it (or no such file)"
    return AdapterRefused((Finding("effect_proof_unreadable", EFFECT_PROOF_FILE, found, expected),))
