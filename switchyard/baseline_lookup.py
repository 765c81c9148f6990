"""Before figures are made with baselines: those that are not in the log are looked for, and stale ones are named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from switchyard.console import say

if TYPE_CHECKING:
    from registry.service import Registry


def look_up(registry: Registry, names: Iterable[str], price_version: str | None = None) -> None:
    """Take prices of unknown names into the log where genai-prices has them, and say on stderr what was taken and what
    is stale. A price version is asked with what it had; what nobody knows stays unknown.
    """
    if price_version is not None:
        return
    from gateway.cost.baseline_words import day, is_stale
    from registry.db import now_ms

    known = set(registry.baselines.names())
    wanted = list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in known]:
        from registry.prices.looking_up import take_unknown

        say(*take_unknown(registry.baselines, unknown), err=True)
    for name in wanted:
        if name not in known:
            continue
        info = registry.baselines.info(name)
        if is_stale(info, now_ms(), registry.settings.price_stale_days):
            looked = f"last looked up on {day(info.checked_at_ms)}" if info.checked_at_ms else "never looked up"
            say(f"warning: prices of {name} were {looked}; `switchyard cost baselines` adds newer ones", err=True)
