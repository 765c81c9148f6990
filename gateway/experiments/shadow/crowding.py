"""May a copy run on an engine now? Pure. Whatever a tenant asks for comes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Protocol

from gateway.fleet.adapter_slots import AdapterSlots
from gateway.fleet.line import Lines
from gateway.fleet.view import EngineView, FleetView, InFlight

NOT_RESIDENT, TENANTS_WAIT, ENGINE_BUSY = "not_resident", "tenants_wait", "engine_busy"
ENGINE_LEAVES, ADAPTER_LEAVES = "engine_leaves", "adapter_leaves"


@dataclass(frozen=True, slots=True)
class Crowding:
    """How full engines are for copies, as far as this worker knows."""

    in_flight: Mapping[str, int]
    """Its requests by engine URL, copies not among them."""
    most: int
    """So many requests on an engine leave no room for a copy."""
    free: Callable[[str], int]
    """Seats of an engine, by its URL, that neither requests nor copies have; below 0 where they have more than there
    are.
    """
    awaited: Set[tuple[str, str]]
    """(engine URL, name): adapters that are to be unloaded when nobody uses them."""
    waits_at: Callable[[str], bool]
    """Whether a request waits for an engine of the base with this digest."""
    wanted: Set[str] = frozenset()
    """URLs of engines on which requests wait until fewer adapters run."""


class FleetCounts(Protocol):
    """What says so."""

    in_flight: InFlight
    lines: Lines
    slots: AdapterSlots


def crowding_of(fleet: FleetCounts, most: int, copies: Mapping[str, int]) -> Crowding:
    """As it is now, with so many copies by engine URL; `most` as in `Crowding`."""
    in_flight, lines = fleet.in_flight, fleet.lines

    def free(url: str) -> int:
        return lines.room.free(url) - copies.get(url, 0)

    return Crowding(in_flight.by_engine, most, free, in_flight.awaited, lines.waits_at, fleet.slots.wanted)


def choose(version_id: int, control_url: str, view: FleetView, crowding: Crowding) -> EngineView | str:
    """The engine for a copy, or why there is none: the control's where that holds the version, else the least loaded
    that does. Nothing is loaded for a copy.
    """
    holders = [engine for engine in view.engines if version_id in engine.resident]
    if not holders:
        return NOT_RESIDENT
    engine = min(holders, key=lambda one: (one.url != control_url, crowding.in_flight.get(one.url, 0)))
    return _why_crowded(engine, crowding) or (engine if crowding.free(engine.url) > 0 else ENGINE_BUSY)


def why_stop(version_id: int, url: str, name: str, view: FleetView, crowding: Crowding) -> str | None:
    """Why a copy that runs on an engine must end now; `None`: it may go on."""
    engine = view.engine(url)
    if engine is None:
        return ENGINE_LEAVES
    if engine.resident.get(version_id) != name or (url, name) in crowding.awaited:
        return ADAPTER_LEAVES
    return _why_crowded(engine, crowding)


def _why_crowded(engine: EngineView, crowding: Crowding) -> str | None:
    if engine.status.queues or crowding.waits_at(engine.declared.base_digest) or engine.url in crowding.wanted:
        return TENANTS_WAIT
    crowded = crowding.in_flight.get(engine.url, 0) >= crowding.most or crowding.free(engine.url) < 0
    return ENGINE_BUSY if crowded else None
