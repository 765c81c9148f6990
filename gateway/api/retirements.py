"""When models of other vendors, for whose names tenants have models here, are switched off there.

As their vendors have announced it by 2026-11-29; what is not in the list is not known. A name here goes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

RETIRES: Mapping[str, str] = {
    "gpt-4": "2026-10-23",
    "gpt-4-turbo": "2026-10-23",
    "gpt-4o": "2027-01-14",
    "gpt-4o-mini": "2027-01-14",
    "gpt-4.1": "2027-01-14",
    "gpt-4.1-mini": "2027-01-14",
}
"""By the name of a family; what was fine-tuned from one of it goes with it."""
SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})$")


def retires_at_vendor(name: str) -> str | None:
    """The day, as a date; `None`: not known. `name` may be that of a snapshot or of a fine-tuned model too."""
    if name.startswith("ft:"):
        name = name.split(":")[1]
    return RETIRES.get(SNAPSHOT.sub("", name))
