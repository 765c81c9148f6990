"""What the gateway adds, in CPU and latency, against the mock engine, in chats. What dialects cost is another bar."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.bars.support.commands import last_json
from tests.bars.support.running import running


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Run `loadtest.overhead`. What it adds has no bar: that is for comparison over time."""
    with running(folder, "--answer-tokens", "50") as house:
        figures, status = last_json(
            [
                *(sys.executable, "-m", "loadtest.overhead", "--direct", house.engine_url, "--gateway", house.url),
                *(f"--key={house.house.keys['acme']}", "--model", "acme/triage", "--pid", str(house.gateway_pid)),
                *("--requests", str(max(40, int(4000 * scale))), "--rounds", "2" if scale < 1 else "8"),
            ]
        )
    return {"figures": figures, "bars": {"no request fails": status == 0}}
