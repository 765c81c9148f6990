"""A promote under 200 concurrent mixed requests on the mock engine, three times."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.bars.support.commands import last_json
from tests.bars.support.running import running

CONCURRENCY = 200


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Three promotes, there and back, under concurrent mixed requests."""
    concurrency = max(10, int(CONCURRENCY * scale))
    rounds = []
    with running(folder, "--token-ms", "5", "--ttft-ms", "10") as house:
        for old, new in (("1.0", "1.1"), ("1.1", "1.0"), ("1.0", "1.1"))[: 3 if scale >= 1 else 1]:
            figures, status = last_json(
                [
                    *(sys.executable, "-m", "loadtest.promote_under_load", "--url", house.url),
                    *(f"--key={house.house.keys['acme']}", "--model", "acme/triage", "--versions", f"{old},{new}"),
                    *("--concurrency", str(concurrency), "--"),
                    *(sys.executable, "-m", "switchyard", "adapters", "promote", f"acme/triage@{new}"),
                ],
                env=house.environment,
            )
            rounds.append({**figures, "held": status == 0})
    return {
        "concurrency": concurrency,
        "figures": rounds,
        "bars": {"0 failures, every model current": all(entry["held"] for entry in rounds)},
    }
