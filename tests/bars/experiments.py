"""Experiments: false positives at every look, coverage, power, assignment, and what a bad version may do.

Figures, each of the part (`support/experiments/`) that measures it: `fpr_upper_max`, the largest of Wilson's upper
bounds of how often a difference is found where there is none, in 100 looks; `coverage_min`, the smallest part of runs
whose sequence has the difference at all looks; `srm_fpr`, wrong alarms of the sample ratio; `pairs_to_decide`, the
median where 60 % of pairs are won; `sample_ratio`, units for a drop by 2 points on .6 in multiples of a fixed sample's;
`aa_rollbacks` and `aa_wins`: of 200 experiments whose arms are the same; `rollback_s` and `exposed_units`: of a canary
on a real gateway that begins to fail 20 % of its requests; `hot_path_us`, processor time of a request's way through the
gateway in a running experiment beyond that of one in none, and `beside_path_us`, that of what is done later for it;
`shadow_p95_ratio`, time to the first byte beside copies of 10 % of requests on a full engine, by that without; `least`
and `most` of both are the ends of an interval that has the true one in 95 of 100 cases. `seconds` says how long each
part took.

What only computes runs side by side; what is clocked runs alone after that. A line tells of each part that is done.
With `SWITCHYARD_BAR_PARTS=FOLDER` each is kept there too, and one that is there already is not measured again at this
scale: so a run goes on that was broken off.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.bars.support.experiments import (
    Part,
    assignment,
    false_positives,
    hot_path,
    power,
    relatives,
    rollback,
    same_arms,
    shadow,
)

COMPUTING = (assignment, power, same_arms, relatives)
"""One after the other, beside `false_positives`, which has two processes of its own."""
CLOCKED = (hot_path, rollback, shadow)
KEPT_IN = "SWITCHYARD_BAR_PARTS"


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Every part."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as beside:
        others = [beside.submit(_measured, part.__name__, folder, scale) for part in COMPUTING]
        done = [_measured(false_positives.__name__, folder, scale), *(other.result() for other in others)]
    done += [_measured(part.__name__, folder, scale) for part in CLOCKED]
    found: dict[str, Any] = {
        name: {key: value for part, _ in done for key, value in getattr(part, name).items()}
        for name in ("figures", "bars", "speed", "detail")
    }
    names = (part.__name__.rpartition(".")[2] for part in (false_positives, *COMPUTING, *CLOCKED))
    found["detail"]["seconds"] = {name: round(seconds) for name, (_, seconds) in zip(names, done, strict=True)}
    return found


def _measured(part: str, folder: Path, scale: float) -> tuple[Part, float]:
    """One part by its module's name, and how many seconds it took."""
    name = part.rpartition(".")[2]
    kept = None if (kept_in := os.environ.get(KEPT_IN)) is None else Path(kept_in) / f"{name}-{scale:g}.json"
    if kept is not None and kept.is_file():
        found = json.loads(kept.read_text())
        print(f"  {name}: measured before, in {found['seconds']:.0f} s", flush=True)
        return Part(**found["part"]), found["seconds"]
    (own := folder / name).mkdir()
    began_s = time.monotonic()
    measured = import_module(part).measure(own, scale)
    seconds = time.monotonic() - began_s
    print(f"  {name}: {seconds:.0f} s, {json.dumps(measured.figures)}", flush=True)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"seconds": seconds, "part": asdict(measured)}))
    return measured, seconds
