"""Follow a swap to its end, as the command line does; where no gateway runs, be the one who ends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from registry.errors import Conflict, GateClosed
from registry.service import Registry
from registry.swaps.infos import DONE, FAILED, FINAL_STATES, REQUESTED, SwapInfo

POLL_S = 0.1
WITHOUT_GATEWAY = {
    "move": "no gateway was running, so the alias moved at once; the next start loads the version",
    "ramp": "no gateway was running, so the split changed at once; the next start loads its versions",
}


def follow(
    registry: Registry, swap: SwapInfo, timeout_s: float, told: Callable[[SwapInfo], object] = lambda swap: None
) -> SwapInfo:
    """The swap at its end, or as it is after `timeout_s`; `told` hears of it at once and with each new state.

    Without a live gateway there is nothing to load into: it takes effect at once and its `detail` has a `note`."""
    deadline = time.monotonic() + timeout_s
    seen = ""
    while True:
        if swap.state == REQUESTED and not registry.workers.live():  # none runs, or the one that ran is gone
            with suppress(Conflict):
                _flip(registry, swap)
        swap = registry.swaps.get(swap.id)
        if swap.state != seen:
            told(swap)
        seen = swap.state
        if swap.state in FINAL_STATES or time.monotonic() > deadline:
            return swap
        time.sleep(POLL_S)


def _flip(registry: Registry, swap: SwapInfo) -> None:
    try:
        registry.swaps.flip(swap.id)
    except GateClosed as closed:
        registry.swaps.advance(swap.id, FAILED, error=str(closed))
    else:
        registry.swaps.advance(swap.id, DONE, note=WITHOUT_GATEWAY[swap.kind])
