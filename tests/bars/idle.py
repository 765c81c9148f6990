"""Memory of an idle gateway."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil

from tests.bars.support.running import running

LIMIT_MB = 120


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Resident memory of a gateway that has served one request and then nothing."""
    with running(folder) as house:
        time.sleep(5 * scale)
        resident_mb = psutil.Process(house.gateway_pid).memory_info().rss / 1e6
    return {
        "figures": {"resident_mb": round(resident_mb, 1)},
        "bars": {f"at most {LIMIT_MB} MB": resident_mb <= LIMIT_MB},
    }
