"""What our adapters are called on engines: `a-`, sixteen digits of the manifest's digest, and what makes it unique."""

from __future__ import annotations

import re

OUR_NAMES = "a-"
_NAME = re.compile(rf"{OUR_NAMES}([0-9a-f]{{16}})-[0-9-]+")


def short_digest(digest: str) -> str:
    """The part of a manifest's digest that an adapter's name on an engine has."""
    return digest.removeprefix("sha256:")[:16]


def adapter_name(digest: str, term: int, number: int) -> str:
    """The name of the load with this number in a controller's term."""
    return f"{OUR_NAMES}{short_digest(digest)}-{term}-{number}"


def digest_in(name: str) -> str | None:
    """The short digest in an adapter's name; `None` in a name that is none of ours."""
    found = _NAME.fullmatch(name)
    return found[1] if found is not None else None
