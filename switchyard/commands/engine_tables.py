"""Engines, and what lies on them, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from registry.days import when
from switchyard.console import print_table

HOT_SHOWN = 10
"""Adapters that `fleet` shows at most."""


def print_engines(found: Sequence[Mapping[str, Any]]) -> None:
    """State, load, places, and why it is in no better state."""
    print_table(
        ("ENGINE", "STATE", "IN FLIGHT", "RUNNING", "QUEUE", "KV", "PLACES", "VLLM", "BOOTED", "WHY"),
        (
            (
                engine["url"],
                engine["state"],
                engine["in_flight"],
                _whole(engine["running"]),
                _whole(engine["waiting"]),
                None if engine["kv_usage"] is None else f"{engine['kv_usage']:.0%}",
                None if engine["places_used"] is None else f"{engine['places_used']}/{engine['places']}",
                engine["version"],
                None if engine["boot_s"] is None else when(int(engine["boot_s"] * 1000)),
                _why(engine),
            )
            for engine in found
        ),
        empty="the gateway has no engines; name them in SWITCHYARD_ENGINES, or add one with `switchyard engines add`",
    )


def _why(engine: Mapping[str, Any]) -> str | None:
    order = engine["drain"]
    drained = f"drained by {order['actor']}{': ' + order['reason'] if order['reason'] else ''}" if order else None
    removed = "being removed" if engine["removed"] else None
    return "; ".join(part for part in (engine["fault"], drained, removed) if part) or None


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def short(url: str) -> str:
    """The URL without its scheme."""
    return url.partition("://")[2] or url


def print_hot(found: Sequence[Mapping[str, Any]], copies: Mapping[str, int]) -> None:
    """The adapters that are asked for most; `copies` is how many homes each has, if not one."""
    heat: dict[str, float] = {}
    where: dict[str, list[str]] = {}
    in_flight: dict[str, int] = {}
    for engine in found:
        for entry in engine["resident"]:
            name = entry["version"] or f"version id {entry['version_id']}"
            heat[name] = entry["requests_per_s"]
            where.setdefault(name, []).append(short(engine["url"]))
            in_flight[name] = in_flight.get(name, 0) + entry["in_flight"]
    hottest = sorted((name for name in heat if heat[name] > 0), key=lambda name: -heat[name])
    print_table(
        ("HOT ADAPTER", "REQUESTS/S", "IN FLIGHT", "HOMES", "RESIDENT ON"),
        (
            (name, f"{heat[name]:.1f}", in_flight[name], copies.get(name, 1), " ".join(where[name]))
            for name in hottest[:HOT_SHOWN]
        ),
        empty=f"{len(heat)} adapters are resident, and none was asked for in the last seconds",
    )
