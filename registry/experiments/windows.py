"""Windows of time as units: all requests that come in one have one arm, so that arms never share engines (switchback).

Windows are those of the clock, from the epoch on, and a request's is that in which it came. So all workers, gateways
and the analysis agree on them without asking each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.request_times import arrived_ms

WINDOW = "window"
LEAST_S, MOST_S, DEFAULT_S = 5, 3_600, 60
SETTLES = 0.1
"""Of a window, by default: what the window before has left on the engines is done by then, or is little."""
RAMP = ({"percent": 50.0, "dwell_s": 3_600, "min_units": 100}, {"percent": 100.0, "dwell_s": 600, "min_units": 0})
"""Whole windows have one arm, so that a small share spares nobody in them and only takes longer."""


def name_of(request_id: str, window_ms: int) -> str:
    """The unit of a request, as it is hashed."""
    return f"{WINDOW}:{arrived_ms(request_id) // window_ms}"


def has_settled(request_id: str, window_ms: int, settle_ms: float) -> bool:
    """Whether a request came when its window was this old at least."""
    return arrived_ms(request_id) % window_ms >= settle_ms


def with_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's document, with what a plan of windows leaves out."""
    if given.get("unit") != WINDOW:
        return dict(given)
    found = {"ramp": RAMP, **given}
    if found.get("window_s") is None:
        found["window_s"] = DEFAULT_S
    if found.get("settle_s") is None and isinstance(found["window_s"], int):
        found["settle_s"] = found["window_s"] * SETTLES
    return found


def fault_in(unit: str, window_s: int | None, settle_s: float | None, valued_s: int) -> str | None:
    """What does not fit in a plan, and the remedy; `valued_s` is `metric.window_s`."""
    if unit != WINDOW:
        for field, value in (("window_s", window_s), ("settle_s", settle_s)):
            if value is not None:
                return f'{field} is {value:g}, and unit is "{unit}"; say unit = "{WINDOW}", or leave it out'
        return None
    assert window_s is not None
    assert settle_s is not None
    if settle_s >= window_s:
        return f"settle_s is {settle_s:g}, and a window has {window_s} s; what settles must be shorter than the window"
    if valued_s < window_s:
        return (
            f"metric.window_s is {valued_s}, and a unit's window (window_s) has {window_s} s, which must be over "
            f"before it is valued; write {window_s} or more"
        )
    return None
