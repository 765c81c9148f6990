"""Under which names the dashboard is opened. A stranger's page can have its own name lead here (DNS rebinding), and
would then be a page of ours to the browser; but the name stays in `Host`.

An IP address and a name without a dot belong to no stranger, so these are always right; others where they are listed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address

ANY = "*"
NAME = r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*"
"""What may be listed, in lower case."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/?#@\s,]+)(?::\d{0,5})?")


def is_ours(given: Collection[str], allowed: Collection[str]) -> bool:
    """Whether the `Host` headers of a request are one, and name what this is. `allowed` are names, `*.name` for all
    below one, `*` for all.
    """
    if len(given) != 1 or (found := _HOST.fullmatch(next(iter(given)).lower())) is None:
        return False
    name = found[1].removesuffix(".")
    if ANY in allowed or name in allowed or name.endswith(".localhost") or "." not in name.strip("[]"):
        return True
    return any(name.endswith(one[1:]) for one in allowed if one.startswith("*.")) or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
