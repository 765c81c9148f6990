"""The fleet as people see it: one JSON-ready document of everything that the controller knows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from gateway.engines.engine import HOLDS
from gateway.engines.managed import ManagedEngine
from gateway.fleet.demand import Demand
from gateway.fleet.hub import Hub


def fleet_document(
    token: int, hub: Hub, engines: Iterable[ManagedEngine], demand: Demand, swaps: Iterable[int]
) -> dict[str, Any]:
    """`{"controller", "workers", "engines", "copies", "swaps"}`; ages in seconds, versions and swaps by id."""
    return {
        "controller": {"pid": os.getpid(), "token": token, "view_revision": hub.revision},
        "workers": [
            {"id": link.worker, "pid": link.pid, "view_revision": link.seen, "in_flight": sum(link.counts.values())}
            for link in hub.links.values()
        ],
        "engines": [_engine(hub, demand, engine) for engine in engines],
        "copies": {str(version): number for version, number in demand.copies.items()},
        "swaps": sorted(swaps),
    }


def _engine(hub: Hub, demand: Demand, engine: ManagedEngine) -> dict[str, Any]:
    look, probes = engine.health.look, engine.control.probes
    holds = engine.health.state in HOLDS
    return {
        "url": engine.url,
        "source": engine.declared.source,
        "kind": engine.declared.kind,
        "id": engine.declared.id,
        "removed": engine.leaving,
        "key_variable": engine.declared.key_variable,
        "state": engine.health.state,
        "fault": engine.health.fault or engine.profile.remark,
        "version": engine.profile.version,
        "platform": engine.declared.platform,
        "base_digest": engine.declared.base_digest,
        "base_distance_nats": engine.profile.base_distance,
        "chat_template": engine.profile.chat_template,
        "boot_s": engine.residency.boot,
        "in_flight": hub.running_on(engine.url),
        "max_num_seqs": engine.declared.max_num_seqs,
        **_line(hub, engine.declared.base_digest),
        "running": look.running if look else None,
        "waiting": look.waiting if look else None,
        "kv_usage": look.kv_usage if look else None,
        "steps": look.steps if look else None,
        "max_loras": look.max_loras if look else None,
        "prompt_tokens": look.prompt_tokens if look else None,
        "generation_tokens": look.generation_tokens if look else None,
        "probes": {
            "asked": probes.asked,
            "unanswered": probes.unanswered,
            "dropped": probes.dropped,
            "prompt_tokens": probes.prompt_tokens,
            "completion_tokens": probes.completion_tokens,
        },
        "breaches": dict(engine.conduct.counts),
        "places": engine.declared.places,
        "places_used": len(engine.residency.names) if holds or engine.health.state == "refused" else None,
        "leaving": sorted(engine.residency.leaving),
        "barred": [
            {"version_id": version_id, "reason": reason, "for_s": round(for_s, 1)}
            for version_id, (reason, for_s) in engine.bars.all().items()
        ],
        "foreign": sorted(engine.residency.foreign),
        "resident": [
            {
                "version_id": version_id,
                "name": entry.name,
                "strength": entry.strength,
                "fully_proven": entry.fully_proven,
                "in_flight": hub.count(engine.url, entry.name),
                "idle_s": _age(hub.last_used_s.get((engine.url, version_id))),
                "requests_per_s": round(demand.heat(version_id), 3),
            }
            for version_id, entry in (engine.residency.resident.items() if holds else ())
        ],
    }


def _line(hub: Hub, base_digest: str) -> dict[str, Any]:
    """Who waits in workers until an engine of the base has room; who is next comes first, as far as one can tell."""
    found: dict[str, list[int]] = {}
    for link in hub.links.values():
        for base, tenant, weight, running, waiting in link.standings:
            if base == base_digest:
                sums = found.setdefault(tenant, [weight, 0, 0])
                sums[1] += running
                sums[2] += waiting
    next_first = sorted(found.items(), key=lambda one: (one[1][1] / one[1][0], one[0]))
    return {
        "line_waiting": sum(link.waiting.get(base_digest, 0) for link in hub.links.values()),
        "line": [
            {"tenant": tenant, "weight": weight, "running": running, "waiting": waiting}
            for tenant, (weight, running, waiting) in next_first
        ],
    }


def _age(monotonic_s: float | None) -> float | None:
    return None if monotonic_s is None else round(time.monotonic() - monotonic_s, 3)
