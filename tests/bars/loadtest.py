"""The locust scenario, many tenants, on the mock engine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.bars.support.commands import last_json
from tests.bars.support.running import running


def run(folder: Path, scale: float) -> dict[str, Any]:
    """The locust scenario with per-tenant keys."""
    keys_file = folder / "keys.json"
    with running(folder, "--token-ms", "2", "--ttft-ms", "5") as house:
        models = {"acme": ["acme/triage", "triage@1.1"], "globex": ["globex/sentiment"]}
        keys_file.write_text(
            json.dumps([{"key": house.house.keys[tenant], "models": names} for tenant, names in models.items()])
        )
        figures, status = last_json(
            [
                *(sys.executable, "-m", "loadtest.run", "--url", house.url, "--keys", str(keys_file)),
                *("--users", str(max(5, int(50 * scale))), "--seconds", str(max(3, int(60 * scale)))),
            ]
        )
    return {"figures": figures, "bars": {"no request fails": status == 0}}
