"""The fingerprint of a base model: what it makes of a few fixed texts, for a gateway to recognise it on an engine.

An engine says what folder it was started with, not what it computes. The fingerprint holds short texts (token ids) and
the log-probabilities, in nats, of some of their own next tokens under the base, measured by the trainer package in
float32, or taken from an engine where nothing here can compute the base. It lies beside the base's weights and, once
the base is registered, in the registry; it is no part of the base's digest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.bases.renderings import Rendering, read_renderings
from registry.errors import InvalidInput

FINGERPRINT_FILE = "fingerprint.json"
FORMAT = 1
MAX_PROBES, MAX_PROBE_TOKENS, MAX_POSITIONS = 16, 256, 16
TEXTS = (
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "def add(a, b):\n    return a + b\n",
    '{"name": "Ada", "born": 1815, "field": "mathematics"}',
    "Water boils at 100 degrees; she poured it slowly over the leaves and waited.",
)
"""Prose, code, data and a story: what one base knows by heart, another finds unlikely."""
POSITIONS = 4
"""Of each text, spread over its length: sixteen questions of one token, a second or two on a CPU engine."""
MAX_TOKENS = 24


def positions_in(tokens: int) -> tuple[int, ...]:
    """Where a text of so many tokens is asked about: from the second half on, where the base has more of its own to
    say.
    """
    first, last = tokens // 2, tokens - 1
    steps = max(POSITIONS - 1, 1)
    return tuple(sorted({first + (last - first) * step // steps for step in range(POSITIONS)} - {0}))


@dataclass(frozen=True, slots=True)
class FingerprintProbe:
    """One text. `positions` index into `token_ids`; `logprobs` is as long as `positions`."""

    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """How likely, in nats, is `token` after `prefix`? The base says `logprob`."""

    prefix: tuple[int, ...]
    token: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What one base model answers."""

    probes: tuple[FingerprintProbe, ...]
    renderings: tuple[Rendering, ...] | None = None
    """What its chat template makes of a few conversations; `None` as long as nobody has taken that down, empty when it
    has no template, or one that prints the date."""
    engine: str | None = None
    """Of which engine these answers are, where the base itself was never measured: then it is known whether others, and
    that one later, serve the same, and not whether it was the right one."""

    def questions(self, *, a_probe: int = MAX_POSITIONS) -> list[Question]:
        """The log-probabilities that it holds, as questions of one token; of each text the first `a_probe`."""
        return [
            Question(probe.token_ids[:position], probe.token_ids[position], logprob)
            for probe in self.probes
            for position, logprob in list(zip(probe.positions, probe.logprobs, strict=True))[:a_probe]
        ]

    def to_json(self) -> dict[str, Any]:
        """A document for `json.dumps`; `from_json` reads it back."""
        document: dict[str, Any] = {"format": FORMAT, "probes": [asdict(probe) for probe in self.probes]}
        if self.renderings is not None:
            document["renderings"] = [rendering.to_json() for rendering in self.renderings]
        if self.engine is not None:
            document["engine"] = self.engine
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint that `to_json` wrote; `KeyError`, `TypeError` or `ValueError` when it is none."""
        if document["format"] != FORMAT:
            raise ValueError(f"format is {document['format']!r}; expected {FORMAT}")
        probes = tuple(_probe(probe) for probe in document["probes"])
        if not 0 < len(probes) <= MAX_PROBES:
            raise ValueError(f"{len(probes)} probes; expected 1 to {MAX_PROBES}")
        engine = document.get("engine")
        return cls(probes, read_renderings(document.get("renderings")), None if engine is None else str(engine))

    def require_tokens_of(self, vocab_size: int) -> None:
        """Raises `ValueError` when a token id is none of such a vocabulary."""
        texts = [probe.token_ids for probe in self.probes]
        texts += [rendering.token_ids for rendering in self.renderings or ()]
        largest = max(token for text in texts for token in text)
        if largest >= vocab_size:
            raise ValueError(f"token id {largest} in a vocabulary of {vocab_size}")


def write_fingerprint(fingerprint: Fingerprint, folder: Path) -> Path:
    """Write it beside the base's weights and return its path."""
    path = folder / FINGERPRINT_FILE
    path.write_text(json.dumps(fingerprint.to_json(), sort_keys=True) + "\n", encoding="utf-8")
    return path


def read_fingerprint(folder: Path, vocab_size: int) -> Fingerprint | None:
    """The fingerprint in a base's folder; `None` when it has none.

    Raises `InvalidInput` for one that cannot be read or whose token ids are not the base's.
    """
    path = folder / FINGERPRINT_FILE
    if not path.exists():
        return None
    try:
        fingerprint = Fingerprint.from_json(json.loads(path.read_bytes()))
        fingerprint.require_tokens_of(vocab_size)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise InvalidInput(
            f"{path} is no fingerprint of this base ({error!r}); delete it and run `switchyard base prepare` again",
            param="base",
        ) from error
    return fingerprint


def _probe(document: Mapping[str, Any]) -> FingerprintProbe:
    probe = FingerprintProbe(
        tuple(int(token) for token in document["token_ids"]),
        tuple(int(position) for position in document["positions"]),
        tuple(float(value) for value in document["logprobs"]),
    )
    if not 1 < len(probe.token_ids) <= MAX_PROBE_TOKENS or min(probe.token_ids) < 0:
        raise ValueError(f"a probe of {len(probe.token_ids)} tokens; expected 2 to {MAX_PROBE_TOKENS}, none negative")
    if not 0 < len(probe.positions) == len(probe.logprobs) <= MAX_POSITIONS:
        raise ValueError(f"{len(probe.positions)} positions and {len(probe.logprobs)} log-probabilities")
    if not all(0 < position < len(probe.token_ids) for position in probe.positions):
        raise ValueError(f"positions {probe.positions} do not fit {len(probe.token_ids)} tokens")
    if not all(math.isfinite(value) for value in probe.logprobs):
        raise ValueError("a log-probability is not finite")
    return probe
