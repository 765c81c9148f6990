"""The judges of the swap and affinity benches."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from loadtest import affinity
from loadtest.affinity import AffinityPlan, Model, ideal_loads, zipf
from loadtest.records import Attempt, Record
from loadtest.swap_bench import SwapTimes, report
from loadtest.testing import run_mock_engine

OLD, NEW = "acme/a@1.0", "acme/a@1.1"
SWAP = SwapTimes(OLD, NEW, requested=10.0, flipped=10.2, acknowledged=10.4, done=10.5)


def answered(started: float, model: str, took: float = 0.1, failure: str | None = None) -> Record:
    attempt = Attempt(started, started, started + took, 200, "r", failure)
    return Record("acme", "acme/a", False, True, False, 0, 2, (attempt,), (model,), " x y")


def judged(*more: Record) -> dict[str, Any]:
    """A calm run and something else."""
    calm = [answered(9 + 0.01 * n, OLD) for n in range(100)] + [answered(10.41 + 0.01 * n, NEW) for n in range(30)]
    return dict(report([*calm, *more], [SWAP]))


def test_a_calm_swap_has_nothing_to_hide() -> None:
    figures = judged(answered(10.1, OLD), answered(10.15, NEW), answered(10.39, OLD))
    assert {name: figures[name] for name in ("requests", "failed", "stale", "p99_ratio", "cutover_s")} == {
        "requests": 133,
        "failed": 0,
        "stale": 0,
        "p99_ratio": 1.0,
        "cutover_s": 0.2,
    }


def test_the_old_version_after_the_acknowledgement_is_stale() -> None:
    assert judged(answered(10.41, OLD))["stale"] == 1


def test_a_failure_and_the_new_version_before_the_flip_are_failures() -> None:
    assert judged(answered(10.0, OLD, failure="HTTP 503"))["failed"] == 1
    assert judged(answered(10.0, NEW))["failed"] == 1
    assert judged(answered(10.3, "acme/a@9.9"))["failed"] == 1


def test_latency_in_the_windows_is_compared_with_the_latency_before() -> None:
    assert judged(*(answered(10.2, NEW, took=0.3) for _ in range(5)))["p99_ratio"] == 3.0
    assert judged(*(answered(12.0, NEW, took=0.3) for _ in range(5)))["p99_ratio"] == 1.0


def test_zipf_traffic_is_the_same_for_a_seed_and_falls_with_the_rank() -> None:
    drawn = zipf(200, 20_000, seed=1)
    assert drawn == zipf(200, 20_000, seed=1) != zipf(200, 20_000, seed=2)
    assert drawn.count(0) == pytest.approx(2 * drawn.count(1), rel=0.15)


def test_perfect_affinity_at_eight_slots_needs_six_tenths_of_round_robins_loads() -> None:
    drawn = zipf(200, 21_000, seed=1)
    robin, homes = (ideal_loads(drawn, 1_000, engines=4, slots=8, homes=homes) for homes in (False, True))
    assert homes / robin == pytest.approx(0.60, abs=0.02)


async def test_the_client_goes_round_robin_over_the_doors_and_counts_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with run_mock_engine() as one, run_mock_engine() as two:
        doors = (one.url, two.url)
        plan = AffinityPlan(doors, doors, (Model("base", "k"),), requests=30, warm_up=10, concurrency=3, rate=300)
        path = plan.write(tmp_path / "plan.json")
        assert await asyncio.to_thread(affinity.main, [str(path)]) == 0
        result = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (result["requests"], result["failures"], result["loads"]) == (30, 0, 0)
        assert [(await engine.state())["requests"]["base"] for engine in (one, two)] == [20, 20]
        await two.faults(fail_next=[500] * 5)
        assert await asyncio.to_thread(affinity.main, [str(path)]) == 1
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["failures"] == 5
