"""One short look at a vLLM by a person's command, which manages no engine."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from gateway.engines.engine import Platform
from gateway.engines.vllm.quirks import Quirks, quirks_of

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Glance:
    """What it says of itself."""

    version: str
    can_load: bool
    """Whether adapters can be loaded while it runs."""
    quirks: Quirks


def glance(url: str, platform: Platform) -> Glance | None:
    """`None` when no vLLM answers there."""
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_S) as http:
            version = str(http.get("/version").json()["version"])
            # An empty request cannot load anything: 400 says that the route is there, 404 that it is not.
            can_load = http.post("/v1/load_lora_adapter", json={}).status_code != 404
    except (httpx.HTTPError, ValueError, KeyError):
        return None
    return Glance(version, can_load, quirks_of(version, platform))
