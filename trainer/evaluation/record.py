"""What an evaluation found, as the registry writes it down."""

from __future__ import annotations

from registry.gates.certificate import EvaluationData, Finding, Party
from registry.gates.policy import Figure
from trainer.evaluation.comparison import Evaluation


def finding_of(found: Evaluation) -> Finding:
    """Figures and what decides them, without any text of rows or answers, and without times."""
    return Finding(
        Party(found.candidate.model, found.candidate.digest),
        Party(found.incumbent.model, found.incumbent.digest),
        found.candidate.base_digest,
        EvaluationData(found.data.name, found.data.digest, len(found.data.rows), found.data.units),
        tuple(
            Figure(item.metric, item.incumbent, item.candidate, item.improvement, item.low, item.high)
            for item in found.items
        ),
        {
            "max_tokens": found.max_tokens,
            "left_out": found.data.left_out,
            **found.settings,
            "judges": {metric: judging.model for metric, judging in found.judgings.items()},
        },
    )
