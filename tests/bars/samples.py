"""Both sample adapters against the base's best, through the gateway, on the real engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.bars.support.commands import last_json
from tests.live.installation import default_base_folder, real_installation

ACCURACY, MARGIN_POINTS = 0.85, 20


def run(folder: Path, scale: float) -> dict[str, Any]:
    """`examples/measure.py` for both tasks."""
    results = {}
    bars = {}
    with real_installation(default_base_folder(), folder) as live:
        for task, tenant in (("triage", "acme"), ("sentiment", "globex")):
            figures, _ = last_json(
                [
                    *(sys.executable, "-m", "examples.measure", "--url", f"{live.url}/v1", "--task", task),
                    *(f"--key={live.keys[tenant]}", "--base-model", live.base_name),
                ]
            )
            results[task] = figures
            rate, margin = figures["scores"]["adapter"]["rate"], figures["difference"]["low"]
            bars[f"{task}: adapter at least {ACCURACY:.0%}"] = rate >= ACCURACY
            bars[f"{task}: {MARGIN_POINTS} points above the base's best"] = margin >= MARGIN_POINTS
    return {"figures": results, "bars": bars}
