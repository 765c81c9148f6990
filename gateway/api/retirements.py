"""When models of other vendors, for whose names tenants have models here, are switched off there.

As the table of baselines says that comes with this package; what is not in it is not known. A name here goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from registry.days import date_of, day_number
from registry.prices.baseline_infos import RETIRED, STATUS
from registry.prices.shipped import shipped_lines
from registry.prices.vendor_names import baselines_of


def retires_at_vendor(name: str) -> str | None:
    """The day, as a date; `None`: not known. `name` may be that of a snapshot or of a fine-tuned model too."""
    ends = _ends()
    return next((ends[known] for known in baselines_of(name) if known in ends), None)


@cache
def _ends() -> Mapping[str, str]:
    return {
        line.name: date_of(day_number(line.effective_from_ms))
        for line in shipped_lines()
        if line.field == STATUS and line.text == RETIRED
    }
