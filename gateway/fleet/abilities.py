"""Which engines of an arm's base cannot do what a request needs."""

from __future__ import annotations

from collections.abc import Set

from gateway.engines.abilities import refusal
from gateway.fleet.view import FleetView
from gateway.handoffs import Ability, Arm


def who_cannot(arm: Arm, view: FleetView, needs: Set[Ability]) -> set[str]:
    """URLs of the engines of the arm's base that lack something of `needs`. Raises `BadRequest` when all of them do."""
    engines = view.of_base(arm.base_digest)
    lacking = {engine.url for engine in engines if engine.status.lacks & needs}
    if engines and len(lacking) == len(engines):
        lacked = frozenset.union(*(engine.status.lacks & needs for engine in engines))
        raise refusal(min(lacked), arm.public_name)
    return lacking
