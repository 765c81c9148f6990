"""The bars of the project, measured: `python -m tests.bars NAME [--scale 0.05] [--out FOLDER]`.

    overhead   what the gateway adds, against the mock engine
    promote    a promote under 200 concurrent mixed requests on the mock engine, three times
    loadtest   the locust scenario, many tenants, on the mock engine
    idle       memory of an idle gateway
    samples    both sample adapters against the base's best, through the gateway, on the real engine
    up         `make up` twice in a fresh clone, to the first answer
    all        every one of them

Each writes one JSON document into the folder: what was run, on which machine, every figure, and whether each bar held.
At a scale below 1 the numbers of requests shrink; `make test` runs the first four at a twentieth.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from gateway.supervisor import child, wait_until_up
from loadtest.testing import free_port
from tests.gateway.stack import House, open_house
from tests.live.installation import ROOT, default_base_folder, real_installation

RESULTS = ROOT / "loadtest" / "results"
PROMOTE_CONCURRENCY = 200
IDLE_LIMIT_MB = 120
FIRST_ANSWER_LIMIT_S, SECOND_ANSWER_LIMIT_S = 480, 100
SAMPLE_ACCURACY, SAMPLE_MARGIN_POINTS = 0.85, 20


@dataclass(frozen=True, slots=True)
class Running:
    """A mock engine and a gateway, each a process of its own."""

    house: House
    engine_url: str
    url: str
    gateway_pid: int
    environment: dict[str, str]


@contextmanager
def running(folder: Path, *mock_options: str) -> Iterator[Running]:
    """Two tenants with two versions of an adapter each, behind a gateway process, in front of a mock engine process."""
    engine_url = f"http://127.0.0.1:{free_port()}"
    quiet = Console(quiet=True)
    with open_house(folder, engines=[engine_url]) as house:
        for tenant, adapter in (("acme", "acme/triage"), ("globex", "globex/sentiment")):
            house.tenant(tenant)
            house.publish(adapter)
            house.publish(adapter)
            house.point(adapter, "1.0")
        environment = {
            **os.environ,
            "SWITCHYARD_STATE_DIR": str(house.settings.state_dir),
            "SWITCHYARD_ENGINES": json.dumps([engine_url]),
            "SWITCHYARD_ENGINE_PLATFORM": "cpu",
            "SWITCHYARD_PORT": str(house.settings.port),
        }
        mock = [sys.executable, "-m", "loadtest.mock_engine", "--port", engine_url.rpartition(":")[2], *mock_options]
        gateway = [sys.executable, "-m", "switchyard", "gateway"]
        url = f"http://127.0.0.1:{house.settings.port}"
        with child(mock, os.environ, folder / "mock.log") as engine_process:
            wait_until_up("mock engine", f"{engine_url}/health", engine_process, folder / "mock.log", 30, quiet)
            with child(gateway, environment, folder / "gateway.log") as process:
                wait_until_up("gateway", f"{url}/readyz", process, folder / "gateway.log", 60, quiet)
                yield Running(house, engine_url, url, process.pid, environment)


def last_json(command: list[str], **options: Any) -> tuple[dict[str, Any], int]:
    """Run a benchmark; its last line as a document, and its exit status."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)
    lines = done.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise RuntimeError(f"{command} printed no result: {done.stdout[-500:]} {done.stderr[-2000:]}")
    document: dict[str, Any] = json.loads(lines[-1])
    return document, done.returncode


def overhead(folder: Path, scale: float) -> dict[str, Any]:
    """CPU and latency that the gateway adds. No bar yet: the figures are for comparison over time."""
    with running(folder, "--answer-tokens", "50") as house:
        figures, status = last_json(
            [
                *(sys.executable, "-m", "loadtest.overhead", "--direct", house.engine_url, "--gateway", house.url),
                *(f"--key={house.house.keys['acme']}", "--model", "acme/triage", "--pid", str(house.gateway_pid)),
                *("--requests", str(max(40, int(4000 * scale))), "--rounds", "2" if scale < 1 else "8"),
            ]
        )
    return {"figures": figures, "bars": {"no request fails": status == 0}}


def promote(folder: Path, scale: float) -> dict[str, Any]:
    """Three promotes, there and back, under concurrent mixed requests."""
    concurrency = max(10, int(PROMOTE_CONCURRENCY * scale))
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


def loadtest(folder: Path, scale: float) -> dict[str, Any]:
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


def idle(folder: Path, scale: float) -> dict[str, Any]:
    """Resident memory of a gateway that has served one request and then nothing."""
    with running(folder) as house:
        time.sleep(5 * scale)
        resident_mb = psutil.Process(house.gateway_pid).memory_info().rss / 1e6
    return {
        "figures": {"resident_mb": round(resident_mb, 1)},
        "bars": {f"at most {IDLE_LIMIT_MB} MB": resident_mb <= IDLE_LIMIT_MB},
    }


def samples(folder: Path, scale: float) -> dict[str, Any]:
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
            bars[f"{task}: adapter at least {SAMPLE_ACCURACY:.0%}"] = rate >= SAMPLE_ACCURACY
            bars[f"{task}: {SAMPLE_MARGIN_POINTS} points above the base's best"] = margin >= SAMPLE_MARGIN_POINTS
    return {"figures": results, "bars": bars}


def up(folder: Path, scale: float) -> dict[str, Any]:
    """A stranger's first and second `make up`, in a clone of what is committed."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    first_s, second_s = _make_up(clone, folder / "first.log"), _make_up(clone, folder / "second.log")
    return {
        "figures": {"first_answer_s": round(first_s, 1), "second_start_s": round(second_s, 1)},
        "bars": {
            f"first adapter answer within {FIRST_ANSWER_LIMIT_S} s": first_s <= FIRST_ANSWER_LIMIT_S,
            f"second within {SECOND_ANSWER_LIMIT_S} s": second_s <= SECOND_ANSWER_LIMIT_S,
        },
    }


def _make_up(clone: Path, log: Path) -> float:
    """Seconds from the command to the first adapter's answer; then Ctrl-C, after which nothing may be left."""
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "up"], cwd=clone, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        while "answer " not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() - began > 900:
                raise RuntimeError(f"make up failed: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        took = time.monotonic() - began
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    left = [survivor for survivor in family if survivor.is_running() and survivor.status() != psutil.STATUS_ZOMBIE]
    if left:
        raise RuntimeError(f"left running after Ctrl-C: {left}")
    return took


BARS: dict[str, Callable[[Path, float], dict[str, Any]]] = {
    "overhead": overhead,
    "promote": promote,
    "loadtest": loadtest,
    "idle": idle,
    "samples": samples,
    "up": up,
}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cpu": model[0].partition(":")[2].strip() if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def measure(name: str, scale: float) -> dict[str, Any]:
    """Run one bar in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix=f"switchyard-{name}-") as folder:
        return {"name": name, "scale": scale, "machine": machine(), **BARS[name](Path(folder), scale)}


def main() -> int:
    """Measure, write, and exit with 1 when a bar did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*BARS, "all"])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    held = True
    for name in BARS if arguments.name == "all" else [arguments.name]:
        print(f"{name}: measuring …", flush=True)
        result = measure(name, arguments.scale)
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        for bar, holds in result["bars"].items():
            print(f"  {'holds ' if holds else 'BROKEN'} {bar}")
            held &= holds
        print(json.dumps(result["figures"]))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
