"""Run the load test headless: `python -m loadtest.run --url http://… --keys keys.json --users 50 --seconds 30`.

Prints a table; the last line of stdout is one JSON document (requests, failures, rps, latency_ms, ttft_ms, gap_ms,
kinds, failure_examples), which `--out` also saves. Exits 1 when a request failed or none was made.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.figures import table
from loadtest.scenario import read_tenants

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
GRACE_S = 60
"""Longer than one request may take: users finish the request that they are in."""


def run_locust(url: str, keys: Path, users: int, seconds: int, max_tokens: int) -> dict[str, Any]:
    """Run locust in a process of its own (it patches the standard library) and return its report.

    Raises RuntimeError when locust leaves no report.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--host", url]
        command += ["--users", str(users), "--spawn-rate", str(max(users / 2, 1)), "--run-time", f"{seconds}s"]
        command += ["--stop-timeout", str(GRACE_S), "--exit-code-on-error", "0", "--only-summary"]
        variables = {
            "SWITCHYARD_LOAD_KEYS": str(keys.resolve()),
            "SWITCHYARD_LOAD_OUT": str(out),
            "SWITCHYARD_LOAD_MAX_TOKENS": str(max_tokens),
            "PYTHONPATH": os.pathsep.join([str(LOCUSTFILE.parents[1]), os.environ.get("PYTHONPATH", "")]),
        }
        ended = subprocess.run(
            command,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_S + 30,
            check=False,
        )
        if not out.exists():
            raise RuntimeError(f"locust ended with {ended.returncode} and no report:\n{ended.stderr[-2000:]}")
        report: dict[str, Any] = json.loads(out.read_text())
        return report


def as_table(report: dict[str, Any]) -> str:
    """One row per kind of request, then all of them, TTFT and gaps; milliseconds."""
    rows = [{"what (ms)": kind, "count": row["requests"], **_times(row)} for kind, row in report["kinds"].items()]
    rows.append({"what (ms)": "all", "count": report["requests"], **_times(report["latency_ms"])})
    rows.append({"what (ms)": "TTFT", "count": "", **_times(report["ttft_ms"])})
    rows.append({"what (ms)": "gap", "count": "", **_times(report["gap_ms"])})
    return table(rows)


def _times(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("p50", "p95", "p99")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.run", description=__doc__)
    parser.add_argument("--url", required=True, help="gateway, http://host:port")
    parser.add_argument("--keys", required=True, type=Path, help="JSON list of {key, models}; see loadtest.scenario")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--out", type=Path, help="also write the JSON document here")
    options = parser.parse_args(arguments)
    read_tenants(options.keys)
    report = run_locust(options.url, options.keys, options.users, options.seconds, options.max_tokens)
    print(as_table(report))
    for failure, times in report["failure_examples"].items():
        print(f"failed {times}x: {failure}")
    line = json.dumps(report)
    if options.out:
        options.out.write_text(line + "\n")
    print(line)
    return 1 if report["failures"] or not report["requests"] else 0


if __name__ == "__main__":
    sys.exit(main())
