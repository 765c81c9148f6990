"""Arm and fleet view → the engine to try. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from gateway.fleet.view import EngineView, FleetView
from gateway.handoffs import Arm


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try on one engine; `number` counts from 0 within the request."""

    engine: EngineView
    number: int


def place(arm: Arm, view: FleetView, unable: Collection[str], number: int) -> Attempt | None:
    """The best engine of the arm's base that is not in `unable` (URLs): one that holds the version, else the first by
    rendezvous hash, so that an adapter's next home is the same for every worker. `None` when there is none.
    """
    able = [engine for engine in view.engines if engine.base_digest == arm.base_digest and engine.url not in unable]
    if not able:
        return None
    if len(able) > 1:
        able.sort(key=lambda engine: (not _holds(engine, arm), _rendezvous(engine.url, arm.public_name)))
    return Attempt(able[0], number)


def _holds(engine: EngineView, arm: Arm) -> bool:
    return engine.base_name is not None if arm.version is None else arm.version.id in engine.resident


def _rendezvous(url: str, name: str) -> bytes:
    """Highest random weight: each engine draws a number for the name; their order is the order of homes."""
    return hashlib.sha256(f"{url}\0{name}".encode()).digest()
