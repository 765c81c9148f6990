"""What `swaps show` says of a swap in each of its states, as somebody reads it who has never seen one."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from registry.swaps.infos import SwapArm, SwapInfo
from registry.swaps.words import swap_said

OLD, NEW = "acme/triage@1.0", "acme/triage@1.1"
FLIP = {"from": OLD, "flipped_at_ms": 5}
WHOLE = (SwapArm(NEW, 2, 10_000),)
HALVES = (SwapArm(OLD, 1, 5_000), SwapArm(NEW, 2, 5_000))


def said(state: str, kind: Literal["move", "ramp"], arms: tuple[SwapArm, ...], **detail: Any) -> list[str]:
    swap = SwapInfo(
        id=1,
        kind=kind,
        alias="production",
        adapter="acme/triage",
        to_version=NEW if kind == "move" else OLD,
        to_version_id=2,
        arms=arms,
        state=state,
        detail=detail,
        requested_at_ms=1,
        finished_at_ms=None,
    )
    return [line.removeprefix("acme/triage@production ") for line in swap_said(swap)]


@pytest.mark.parametrize(
    ("state", "detail", "lines"),
    [
        ("requested", {}, ["points at nothing yet", f"the move to {NEW} waits for a running gateway to begin it (req"]),
        (
            "preloading",
            {"from": OLD},
            [f"still points at {OLD}", f"the move to {NEW} is being prepared: what it needs"],
        ),
        ("flipped", FLIP, [f"moved from {OLD} to {NEW}", "workers are taking it over (flipped)"]),
        ("draining", FLIP, [f"moved from {OLD} to {NEW}", f"requests that run on {OLD} are waited for (draining)"]),
        ("done", FLIP, [f"moved from {OLD} to {NEW}"]),
        ("done", {**FLIP, "from": NEW, "ended_split": 3}, [f"stayed at {NEW}", "this ended split 3"]),
        ("done", {"flipped_at_ms": 5}, [f"was pointed at {NEW}, its first version"]),
        ("failed", {"from": OLD, "error": "no"}, [f"stayed at {OLD}", f"the move to {NEW} failed: no"]),
        ("failed", {"error": "no"}, ["was left pointing at nothing", f"the move to {NEW} failed: no"]),
        (
            "failed",
            {**FLIP, "error": "no"},
            [f"moved from {OLD} to {NEW}", "its end failed, after the traffic had moved: no"],
        ),
    ],
)
def test_a_move_says_in_each_state_what_is_so_and_nothing_that_is_not(
    state: str, detail: dict[str, Any], lines: list[str]
) -> None:
    found = said(state, "move", WHOLE, **detail)
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True)), found


def test_a_ramp_says_what_was_split_or_that_nothing_has_changed() -> None:
    assert said("done", "ramp", HALVES, **FLIP, split=4) == ["was split: 1.0 50 %, 1.1 50 %", "this began split 4"]
    ended = said("done", "ramp", (SwapArm(OLD, 1, 10_000),), **FLIP, ended_split=4)
    assert ended == [f"was split no more: all went to {OLD}", "this ended split 4"]
    failed = said("failed", "ramp", HALVES, error="no")
    assert failed == ["kept its split, or had none, as before", "the split 1.0 50 %, 1.1 50 % failed: no"]
    assert said("verified", "ramp", HALVES)[0] == "goes where it went before"
