"""Which engines of an arm's base cannot do what a request needs."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.engines.abilities import no_endpoint, refusal
from gateway.fleet.view import EngineView, FleetView
from gateway.handoffs import Arm, InferenceRequest

NOBODY: frozenset[str] = frozenset()


def who_cannot(arm: Arm, view: FleetView, request: InferenceRequest) -> set[str]:
    """URLs of the engines of the arm's base that lack the endpoint of a request, or something that it needs.

    Raises `EndpointMissing` or `BadRequest` when all of them do.
    """
    dialect = request.dialect
    without = view.without.get(dialect.asks, NOBODY)
    if not without and not request.needs:
        return set()
    engines = view.able(arm)
    having = [engine for engine in engines if engine.url not in without]
    if engines and not having:
        raise no_endpoint(dialect.name, arm.public_name, [engine.declared.kind for engine in engines], _common(engines))
    lacking = [engine for engine in having if engine.status.lacks & request.needs]
    if having and len(lacking) == len(having):
        lacked = frozenset.union(*(engine.status.lacks & request.needs for engine in lacking))
        raise refusal(min(lacked), arm.public_name)
    return {engine.url for engine in lacking} | (without & {engine.url for engine in engines})


def _common(engines: Sequence[EngineView]) -> frozenset[str]:
    """Endpoints that none of the engines has."""
    return frozenset.intersection(*(engine.status.missing for engine in engines))
