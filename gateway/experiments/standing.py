"""Where an experiment's analysis is: everything that decisions are made of, as figures that JSON knows.

All figures are rounded to 12 significant digits before anything is decided by them, so that another machine, whose
logarithms differ beyond, decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.experiments.inference.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Cursor:
    """How many exposures, first failures, values and verdicts of units the analysis has seen: it has read them all
    once.
    """

    exposed: int = 0
    failed: int = 0
    folded: int = 0
    judged: int = 0


@dataclass(frozen=True, slots=True)
class Broken:
    """A treatment's failures against the control's: see `gateway.experiments.breaker`."""

    log_e: float
    candidate: int
    control: int
    open: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known. Verdicts are by treatment; those of guardrails and of missing values by metric, then treatment."""

    cursor: Cursor = Cursor()
    digest: str = ""
    """Of all that was seen, in its order."""
    units: Mapping[str, int] = field(default_factory=dict)
    """Arm → units that have met it."""
    folded: Mapping[str, int] = field(default_factory=dict)
    """Arm → units whose value is known and counts."""
    on_split: Mapping[str, int] = field(default_factory=dict)
    """Split id → new units that its treatments had."""
    breakers: Mapping[str, Broken] = field(default_factory=dict)
    ratio_log_e: float = 0.0
    ratio_alarms: bool = False
    primary: Mapping[str, Verdict] = field(default_factory=dict)
    guardrails: Mapping[str, Mapping[str, Verdict]] = field(default_factory=dict)
    missing: Mapping[str, Mapping[str, Verdict]] = field(default_factory=dict)
    joint: Mapping[str, Verdict] = field(default_factory=dict)
    """Quality and dollars per accepted answer together."""
    strata: Mapping[str, Mapping[str, Verdict]] = field(default_factory=dict)
    """How full the prefix cache was → times to the first byte."""
    notes: tuple[str, ...] = ()
    """What the reader of the figures must know, such as a bias."""

    @property
    def document(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Standing:
        """What `document` made."""
        nested = {
            name: {metric: _verdicts(by) for metric, by in document[name].items()}
            for name in ("guardrails", "missing", "strata")
        }
        return cls(
            **{
                **document,
                **nested,
                "cursor": Cursor(**document["cursor"]),
                "breakers": {arm: Broken(**one) for arm, one in document["breakers"].items()},
                "primary": _verdicts(document["primary"]),
                "joint": _verdicts(document["joint"]),
                "notes": tuple(document["notes"]),
            }
        )


def _verdicts(document: Mapping[str, Any]) -> dict[str, Verdict]:
    return {arm: Verdict(**one) for arm, one in document.items()}
