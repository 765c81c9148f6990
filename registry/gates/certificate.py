"""The certificate of one evaluation: a document that is named by its own digest. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from registry.gates.policy import Figure, Policy, Verdict, judge
from registry.storage.blobs import canonical_json, digest_of

FORMAT = 2
"""1 had `cannot tell` for `undecided`."""
DIGITS = 6
"""Significant ones of a figure."""


@dataclass(frozen=True, slots=True)
class Party:
    """One of the two that were compared: the name that it was asked by, and its manifest's digest; None of a base."""

    model: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """The evaluation set. `units` are conversations, `rows` answers."""

    name: str
    digest: str
    rows: int
    units: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What an evaluation found, before a gate is asked about it."""

    candidate: Party
    incumbent: Party
    base_digest: str
    data: EvaluationData
    figures: tuple[Figure, ...]
    settings: dict[str, Any]
    """What else decides the figures, such as `max_tokens`; JSON-ready."""


@dataclass(frozen=True, slots=True)
class Certified:
    """A finding with the gate's verdict. `bytes` are canonical, `digest` is theirs. Nothing in it is of the clock."""

    document: dict[str, Any]
    verdict: Verdict
    bytes: bytes
    digest: str


def certify(finding: Finding, policy: Policy | None) -> Certified:
    """The same finding and gate give the same bytes."""
    verdict = judge(policy, finding.figures, finding.data.units, finding.data.digest)
    document = {
        "format": FORMAT,
        "candidate": asdict(finding.candidate),
        "incumbent": asdict(finding.incumbent),
        "base_digest": finding.base_digest,
        "data": asdict(finding.data),
        "settings": finding.settings,
        "figures": [_rounded(asdict(figure)) for figure in finding.figures],
        "gate": None if policy is None else policy.document,
        "verdict": verdict.word,
        "reasons": list(verdict.reasons),
    }
    data = canonical_json(document)
    return Certified(document, verdict, data, digest_of(data))


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value for name, value in fields.items()}
