"""Benchmarks of `loadtest` as processes of their own."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.live.installation import ROOT


def last_json(command: list[str], **options: Any) -> tuple[dict[str, Any], int]:
    """Run a benchmark; its last line as a document, and its exit status. What it says on stderr is shown on failure."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)
    lines = done.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise RuntimeError(f"{command} printed no result: {done.stdout[-500:]} {done.stderr[-2000:]}")
    document: dict[str, Any] = json.loads(lines[-1])
    return document, done.returncode
