"""A swap that a command has asked for, followed to its end and told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import RegistryError
from switchyard.console import say

if TYPE_CHECKING:
    from registry.service import Registry
    from registry.swaps.infos import SwapInfo


def follow_swap(registry: Registry, swap: SwapInfo, timeout_s: float, json_output: bool) -> SwapInfo:
    """The swap at its end, or as far as it came in time; each of its states is printed for people as it comes."""
    from registry.swaps.following import follow

    def tell(swap: SwapInfo) -> None:
        say(f"{swap.adapter}@{swap.alias} → {swap.goal}: {swap.state}")

    swap = follow(registry, swap, timeout_s, (lambda swap: None) if json_output else tell)
    if not json_output and "note" in swap.detail:
        say(swap.detail["note"])
    return swap


def require_done(swap: SwapInfo, failure: str, timeout_s: float) -> None:
    """Raise `RegistryError` for one that failed, or did not end in time."""
    from registry.swaps.infos import DONE, FAILED

    if swap.state == FAILED:
        raise RegistryError(f"{failure}: {swap.detail.get('error', 'unknown reason')}")
    if swap.state != DONE:
        raise RegistryError(
            f"swap {swap.id} is still {swap.state!r} after {timeout_s:g} s; the gateway goes on with it"
        )
