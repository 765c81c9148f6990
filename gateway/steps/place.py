"""Arm and fleet view → the engine to try. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from gateway.fleet.view import EngineView, FleetView
from gateway.handoffs import Arm

SPILL_FACTOR = 2.0
SPILL_FLOOR = 16
"""An engine is overloaded with more requests than this and than twice the mean of the engines that could serve."""


class Openings(NamedTuple):
    """Where one more request may begin now, as far as this worker knows."""

    in_flight: Mapping[str, int]
    """Requests by engine URL."""
    has_seat: Callable[[EngineView], bool]
    """Whether one more request may run there now."""
    has_slot: Callable[[EngineView, Arm], bool]
    """Whether the arm's adapter may be one of those that run there now."""


def place(
    arm: Arm, view: FleetView, openings: Openings, unable: Collection[str], avoided: Collection[str]
) -> EngineView | None:
    """The engine that should serve the arm: of its homes that hold it the least loaded, else the first home.

    `unable` are URLs that have failed this request, `avoided` those that fail often (tried when there is nothing else).
    An overloaded choice spills: to an engine that holds the arm, else to the next one in the order of its homes that is
    not overloaded, which will load it. So does one that has no slot for it, where another has: a slot and, if that one
    does not hold the arm, a place that is free. `None` when no engine of the arm's base has a seat.
    """
    engines = view.able(arm)
    if len(engines) == 1:
        only = engines[0]
        return only if only.url not in unable and openings.has_seat(only) else None
    able = {engine.url: engine for engine in engines if engine.url not in unable and openings.has_seat(engine)}
    if not able:
        return None
    if len(able) > 1 and avoided:
        able = {url: engine for url, engine in able.items() if url not in avoided} or able
    if len(able) == 1:
        return next(iter(able.values()))
    order = [able[url] for url in view.homes.order(arm.public_name) if url in able]
    copies = len(order) if arm.version is None else view.copies.get(arm.version.id, 1)  # a base lives everywhere
    holders = [engine for engine in order if _holds(engine, arm)]
    warm = [engine for engine in order[:copies] if _holds(engine, arm)] or holders
    best = min(warm, key=lambda engine: openings.in_flight.get(engine.url, 0)) if warm else order[0]
    most = max(SPILL_FLOOR, SPILL_FACTOR * sum(openings.in_flight.get(engine.url, 0) for engine in order) / len(order))
    spills = openings.in_flight.get(best.url, 0) >= most
    if not spills and openings.has_slot(best, arm):
        return best
    others = [one for one in (*holders, *order) if openings.in_flight.get(one.url, 0) < most]
    at_once = (one for one in others if openings.has_slot(one, arm) and (spills or _holds(one, arm) or _has_place(one)))
    return next(at_once, others[0] if spills and others else best)


def _holds(engine: EngineView, arm: Arm) -> bool:
    return engine.status.base_name is not None if arm.version is None else arm.version.id in engine.resident


def _has_place(engine: EngineView) -> bool:
    """Whether it can load one without another's making room; two places are a swap's and the adapter of zeros'."""
    return len(engine.resident) < engine.declared.places - 2
