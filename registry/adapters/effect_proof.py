"""The effect proof that travels with a version: what the adapter changes, in the trainer's own measurement.

It holds probe prompts (token ids) and, at the positions where base and adapter differ most, the log-probability of the
prompt's own next token under each. The trainer package writes it, at publish or later (`adapters prove`); the registry
refuses one that cannot be read, and the gateway asks the engine for the same differences after each load.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.errors import AdapterRefused, Finding
from registry.storage.safetensors_header import clip
from registry.storage.strict_json import strict_json

EFFECT_PROOF_FILE = "effect_proof.json"
FORMAT = 1
POSITIONS_A_PROBE = 2
MAX_PROBES, MAX_PROBE_TOKENS = 16, 256
MAX_PROOF_BYTES = 2**19
"""The largest proof that the bounds above allow takes a third of it."""
MAX_NOISE_NATS, MAX_NATS = 1.0, 1e6
DOCUMENT_KEYS = frozenset({"format", "noise", "probes"})
PROBE_KEYS = frozenset({"token_ids", "positions", "base_logprobs", "adapter_logprobs"})
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
    """The proof in an adapter's folder; `None` when it has none. Blocks. Raises `AdapterRefused`, `OSError`."""
    try:
        with (folder / EFFECT_PROOF_FILE).open("rb") as file:
            data = file.read(MAX_PROOF_BYTES + 1)
    except FileNotFoundError:
        return None
    return parse_proof(data)


def parse_proof(data: bytes) -> EffectProof:
    """The proof that `proof_bytes` wrote. Raises `AdapterRefused`, whatever the bytes are."""
    try:
        if len(data) > MAX_PROOF_BYTES:
            raise ValueError(f"more than {MAX_PROOF_BYTES} bytes")
        document = _object(strict_json(data), DOCUMENT_KEYS, optional={"format"})
        if document.get("format", FORMAT) != FORMAT:
            raise ValueError(f"format {document['format']!r}; expected {FORMAT}")
        probes = _list(document, "probes", MAX_PROBES, least=1)
        return EffectProof(tuple(_probe(probe) for probe in probes), _noise(document["noise"]))
    except ValueError as error:
        raise _refused(clip(error)) from error


def check_proof(proof: EffectProof, vocab_size: int) -> None:
    """Refuse a proof that an engine of this base could not be asked. Raises `AdapterRefused`."""
    for probe in proof.probes:
        if not all(token < vocab_size for token in probe.token_ids):
            raise _refused(f"token id {max(probe.token_ids)} in a vocabulary of {vocab_size}")


def _probe(value: Any) -> Probe:
    document = _object(value, PROBE_KEYS)
    tokens = _list(document, "token_ids", MAX_PROBE_TOKENS)
    positions = _list(document, "positions", MAX_PROBE_TOKENS)
    probe = Probe(
        tuple(_count(token, "token id") for token in tokens),
        tuple(_count(position, "position") for position in positions),
        tuple(_logprob(value) for value in _list(document, "base_logprobs", MAX_PROBE_TOKENS)),
        tuple(_logprob(value) for value in _list(document, "adapter_logprobs", MAX_PROBE_TOKENS)),
    )
    if not len(probe.positions) == len(probe.base_logprobs) == len(probe.adapter_logprobs):
        raise ValueError("positions and log-probabilities differ in number")
    if not all(0 < position < len(probe.token_ids) for position in probe.positions):
        raise ValueError(f"positions {probe.positions} do not fit {len(probe.token_ids)} tokens")
    return probe


def _object(value: Any, keys: frozenset[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__} instead of an object")
    if missing := keys - optional - value.keys():
        raise ValueError(f"{sorted(missing)} missing")
    if unknown := value.keys() - keys:
        raise ValueError(f"keys that nobody knows: {sorted(unknown)[:3]}")
    return value


def _list(document: Mapping[str, Any], key: str, most: int, least: int = 0) -> list[Any]:
    values = document[key]
    if not isinstance(values, list) or not least <= len(values) <= most:
        found = f"{len(values)} of them" if isinstance(values, list) else f"a JSON {type(values).__name__}"
        raise ValueError(f"{key}: {found}; expected a list of {least} to {most}")
    return values


def _count(value: Any, what: str) -> int:
    if type(value) is int and 0 <= value < 2**31:
        return value
    raise ValueError(f"{what} {value!r}; expected a whole number that is not negative")


def _logprob(value: Any) -> float:
    if type(value) in (int, float) and abs(value) <= MAX_NATS:
        return float(value)
    raise ValueError(f"log-probability {value!r}; expected a number of nats")


def _noise(value: Any) -> float:
    if type(value) in (int, float) and 0 < value <= MAX_NOISE_NATS:
        return float(value)
    raise ValueError(f"noise {value!r}; expected nats, above 0 and at most {MAX_NOISE_NATS:g}")


def _refused(found: str) -> AdapterRefused:
    expected = "an effect proof as the trainer writes it (or no such file)"
    return AdapterRefused((Finding("effect_proof_unreadable", EFFECT_PROOF_FILE, found, expected),))
