"""Versions that no engine may have, and swaps that did not come about."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.attention.item import Item, Known
from registry.days import DAY_MS

RECENT_MS = DAY_MS
"""A swap that failed longer ago is history."""
MOST_SWAPS = 200


def version_items(known: Known) -> Iterator[Item]:
    """Quarantined versions; those that an alias points at need an order."""
    asked_for = {
        version.id
        for entry in known.catalog.adapters.values()
        for version in entry.aliases.values()
        if version.quarantined is not None
    }
    for version in known.catalog.versions_by_id.values():
        if version.quarantined is not None:
            missed = version.id in asked_for
            yield Item(
                "version_quarantined",
                "act" if missed else "watch",
                version.name,
                f"{version.name} is kept from every engine: {version.quarantined}"
                + ("; an alias points at it, so its requests are refused" if missed else ""),
                "roll its alias back, or release it when its files are sound",
                f"switchyard adapters rollback {version.tenant}/{version.adapter}"
                if missed
                else f"switchyard quarantine release {version.name}",
                f"/adapters/{version.tenant}/{version.adapter}",
                tenant=version.tenant,
            )


def swap_items(known: Known) -> Iterator[Item]:
    """Promotes, rollbacks and ramps of the last day that failed and were not followed by one that succeeded."""
    settled: set[tuple[str, str]] = set()
    for swap in known.registry.swaps.recent(MOST_SWAPS, None):
        about = (swap.adapter, swap.alias)
        if about in settled:
            continue
        settled.add(about)
        if swap.state == "failed" and known.at_ms - (swap.finished_at_ms or swap.requested_at_ms) < RECENT_MS:
            yield Item(
                "swap_failed",
                "act",
                f"{swap.adapter}@{swap.alias}",
                f"swap {swap.id} of {swap.adapter}@{swap.alias} to {swap.to_version} failed: "
                f"{swap.detail.get('error', 'it does not say why')}",
                "mend what it names and order it again; traffic is where it was",
                f"switchyard swaps show {swap.id}",
                f"/adapters/{swap.adapter}",
                tenant=swap.adapter.partition("/")[0],
                since_ms=swap.finished_at_ms,
            )
