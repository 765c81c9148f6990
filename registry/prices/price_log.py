"""The log of baselines (`registry.chained_log`): a line is a price of one component, or a fact (`status`,
`substitute` …).
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.backends import PRICE_LOG_LOCK
from registry.chained_log import ChainedLog
from registry.prices.rows import BaselineLine


@dataclass(frozen=True, slots=True)
class Said:
    """What a line says, before it has a place in the log. A price has `nano`; `None`, as a price, is that there is none
    from then on.
    """

    name: str
    field: str
    """A component, or a fact."""
    effective_from_ms: int
    source: str
    origin: str
    nano: int | None = None
    text: str | None = None
    retrieved_at_ms: int | None = None
    stated_from_ms: int | None = None
    correction: bool = False
    note: str = ""


PRICE_LOG = ChainedLog(BaselineLine, Said, "p", "price log", "price_version", PRICE_LOG_LOCK)
