"""Engines, workers, duties: what the controller knows, or that nobody does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.attention.item import Item, Known
from gateway.engines.engine import TAKES_TRAFFIC
from registry.days import DAY_MS

PAGE = "/fleet"
QUIET_STATES = (*TAKES_TRAFFIC, "draining", "new", "starting")
"""Of engines that nobody has to look at; `draining` has an order of its own."""
LONG_DRAINED_MS = DAY_MS
"""An engine that is out of traffic for longer may have been forgotten."""


def fleet_items(known: Known) -> Iterator[Item]:
    """What is wrong with the fleet."""
    if known.lapsed:
        yield Item(
            "catalog_lapsed",
            "act",
            "catalog",
            "this gateway's catalog is too old to serve by, so it refuses requests",
            "look whether its host reaches the database, and whether that takes writes",
            "switchyard doctor",
            PAGE,
        )
    if known.fleet is None:
        yield Item(
            "controller_away",
            "act",
            "controller",
            "nobody leads the fleet: what is resident is served, and nothing is loaded, swapped or decided",
            "a successor takes over within seconds; if none does, start a gateway or `switchyard controller`",
            "switchyard fleet",
            PAGE,
        )
        return
    for engine in known.fleet["engines"]:
        yield from _of_engine(engine, known)
    for name, found in known.fleet["duties"].items():
        if found != "ok":
            yield Item(
                "duty_failing",
                "act",
                name,
                f"the leader's duty '{name}' fails: {found}",
                "mend what the sentence names; the duty is tried again by itself",
                "switchyard fleet",
                PAGE,
            )
    yield from _workers(known)
    yield from _drains(known)


def _of_engine(engine: Mapping[str, Any], known: Known) -> Iterator[Item]:
    url, state = engine["url"], engine["state"]
    if not engine["removed"] and state not in QUIET_STATES:
        fault = engine["fault"] or "it does not say why"
        refused = state == "refused"
        yield Item(
            "engine_refused" if refused else "engine_down",
            "act",
            url,
            f"engine {url} is {state}: {fault}",
            "make it what it is declared to be, or take it out of the fleet"
            if refused
            else "start it again, or take it out of the fleet",
            f"switchyard engines drain {url}" if refused else "switchyard engines list",
            PAGE,
        )
    for barred in engine.get("barred", ()):
        yield Item(
            "version_barred",
            "watch",
            f"{known.version(barred['version_id'])} on {url}",
            f"engine {url} refuses {known.version(barred['version_id'])}, which others prove: {barred['reason']}",
            "look at that engine; it is tried again by itself",
            "switchyard engines list",
            PAGE,
        )


def _workers(known: Known) -> Iterator[Item]:
    for worker in known.registry.workers.live():
        behind = known.catalog.revision - worker.acknowledged_revision
        if behind > 1:  # one is a matter of half a second
            yield Item(
                "worker_behind",
                "watch",
                worker.id,
                f"worker {worker.id} serves by a catalog that is {behind} revisions old",
                "look at its log, and whether its host reaches the database",
                "switchyard fleet",
                PAGE,
            )


def _drains(known: Known) -> Iterator[Item]:
    for url, drain in known.registry.drains.all().items():
        if known.at_ms - drain.since_ms > LONG_DRAINED_MS:
            why = f" ({drain.reason})" if drain.reason else ""
            yield Item(
                "engine_drained",
                "watch",
                url,
                f"{drain.actor} has kept engine {url} out of traffic for more than a day{why}",
                "let it take traffic again, or take it out of the fleet",
                f"switchyard engines resume {url}",
                PAGE,
                since_ms=drain.since_ms,
            )
