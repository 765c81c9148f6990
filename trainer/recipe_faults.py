"""What is wrong with a recipe's keys and values, all of it at once, with the name that was probably meant."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

MAX_SHOWN_CHARACTERS = 100
CLOSE = 0.7
ELSEWHERE = {
    "rank": "r",
    "lora_rank": "r",
    "lr": "learning_rate",
    "lr_scheduler_type": "schedule",
    "max_length": "max_length_tokens",
    "max_seq_length": "max_length_tokens",
    "optim": "optimizer",
}
"""What other trainers call a key, where neither spelling nor ending tells."""
Keys = Mapping[str, tuple[str, ...]]
"""The known keys of each section."""


def read_as_meant(document: dict[str, Any], keys: Keys) -> tuple[dict[str, Any], list[str]]:
    """A copy in which misspelt sections and keys have their right names, so that the rest is checked, and their faults.

    A name is only put right where that one is not given as well. A section that is not there is empty.
    """
    faults: list[str] = []
    meant = _put_right(document, tuple(keys), "section", "", faults)
    for name, known in keys.items():
        section = meant.setdefault(name, {})
        if isinstance(section, dict):
            meant[name] = _put_right(section, known, "key", f"{name}.", faults)
    return meant, faults


def explained(failed: ValidationError, keys: Keys) -> list[str]:
    """One line for each error: field, value, remedy."""
    lines = []
    for error in failed.errors():
        place = [str(part) for part in error["loc"] if part != "literal['all-linear']"]
        field = ".".join(place) or "(whole file)"
        given = "" if error["input"] is None else f" = {_short(error['input'])}"
        if error["type"] == "missing":
            lines.append(f"{field} is missing; add it")
        elif error["type"] == "extra_forbidden":
            lines.append(f"{field}{given} is not a known key; {_remedy(place, keys)}")
        else:
            message = error["msg"].removeprefix("Value error, ")
            lines.append(f"{field}{given}: {message[:1].lower()}{message[1:]}")
    return lines


def _put_right(
    table: dict[str, Any], known: tuple[str, ...], what: str, where: str, faults: list[str]
) -> dict[str, Any]:
    right = dict(table)
    for name in (name for name in table if name not in known):
        meant = _nearest(name, [key for key in known if key not in right])
        if meant is not None:
            right[meant] = right.pop(name)
            remedy = f"is not a known {what}; did you mean {where}{meant}?"
            faults.append(f"{where}{name} = {_short(right[meant])} {remedy}")
    return right


def _nearest(name: str, known: list[str]) -> str | None:
    if ELSEWHERE.get(name) in known:
        return ELSEWHERE[name]
    ends = [key for key in known if name.endswith(f"_{key}")]
    return next(iter([*ends, *get_close_matches(name[:MAX_SHOWN_CHARACTERS], known, n=1, cutoff=CLOSE)]), None)


def _remedy(place: list[str], keys: Keys) -> str:
    """Where the key belongs, or what there is in its place."""
    *outer, name = place
    others = [section for section in keys if name in keys[section] and [section] != outer]
    if others:
        return f"it belongs in [{others[0]}]"
    known = keys.get(outer[0], ()) if outer else tuple(keys)
    return f"remove it, or use one of {', '.join(known)}"


def _short(value: object) -> str:
    """A bounded text, however long or nested the value is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = MAX_SHOWN_CHARACTERS
    return short.repr(value)
