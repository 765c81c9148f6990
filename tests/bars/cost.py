"""Cost: who engines' work falls to, and reports over a million attempts, archived or not.

Figures, each of the part (`support/cost/`) that measures it: `attribution_error`, the largest error of a tenant's cost
on a simulated engine whose costs are known; `report_s`, the command `cost report` from start to end over 1,000,000
attempts, in the slower of two groupings; `archived_report_s`, a report of a window whose edges are in archived days,
over 1,000,000 attempts of which 900,000 are archived.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bars.support.cost import Part, archived, attribution, reported

PARTS = (attribution, reported, archived)


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Every part, one after the other."""
    parts: list[Part] = []
    for number, part in enumerate(PARTS):
        (own := folder / str(number)).mkdir()
        parts.append(part.measure(own, scale))
    return {
        name: {key: value for part in parts for key, value in getattr(part, name).items()}
        for name in ("figures", "bars", "speed", "detail")
    }
