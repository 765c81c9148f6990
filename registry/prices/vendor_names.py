"""Which baseline a model's name means at its vendor: those of snapshots and of fine-tuned models too."""

from __future__ import annotations

import re

SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})$")


def baselines_of(name: str) -> tuple[str, ...]:
    """Names under which a price log may have it, the likeliest first: what was fine-tuned goes with its family.

    `ft:gpt-4o-mini-2024-07-18:acme::7` may be there as it is, as `ft:gpt-4o-mini` and as `gpt-4o-mini`.
    """
    parts = name.split(":")
    tuned = parts[0] == "ft" and len(parts) > 1
    family = SNAPSHOT.sub("", parts[1] if tuned else name)
    found = (name, f"ft:{family}", family) if tuned else (name, family)
    return tuple(dict.fromkeys(one for one in found if one and one != "ft:"))
