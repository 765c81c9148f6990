"""The four forms of rows, told apart by their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice
from typing import Any, Literal, get_args

from trainer.data.faults import Fault
from trainer.data.lines import MAX_FAULTS, Line, shown
from trainer.data.public_sets import public_set_of

RowFormat = Literal["chat", "completion", "instruction", "preference"]
Format = Literal["auto", "chat", "completion", "instruction", "preference"]
FORMATS: tuple[RowFormat, ...] = get_args(RowFormat)
ORIGIN = "origin"
"""The key of any row that says who wrote it, if no person did."""
KEYS: dict[RowFormat, tuple[str, ...]] = {
    "chat": ("messages", "tools", "parallel_tool_calls"),
    "preference": ("input", "preferred_output", "non_preferred_output", "prompt", "chosen", "rejected"),
    "instruction": ("instruction", "input", "output"),
    "completion": ("prompt", "completion"),
}
TELLING: dict[RowFormat, tuple[str, ...]] = {
    "chat": ("messages",),
    "preference": ("preferred_output", "non_preferred_output", "chosen", "rejected"),
    "instruction": ("instruction", "output"),
    "completion": ("prompt", "completion"),
}
"""Keys of which one is enough to tell a form; the first form that has one is it."""
MAX_KEYS_NAMED = 5
CLOSE = 0.8
"""From which likeness on one key is another one misspelt."""
WANTED = (
    'use {"messages": [...]}, {"instruction", "input", "output"}, {"prompt", "completion"} '
    'or {"prompt", "chosen", "rejected"}'
)


def format_of(row: dict[str, Any]) -> RowFormat | None:
    """The form of one row; None when no key tells."""
    return next((name for name, keys in TELLING.items() if any(key in row for key in keys)), None)


def is_draft(row: dict[str, Any]) -> bool:
    """Whether a row was generated and nobody has looked at it yet."""
    return "draft" in row and "row" in row


def settle(lines: Iterable[Line], wanted: Format, *, others: bool = False) -> tuple[RowFormat | None, dict[int, Fault]]:
    """The form that a file's rows have, and the faults (by line) of rows that have another, or none: the first many.

    Where it is not given, it is the form that most rows have, and of two equals the one that comes first. None: no row
    has a form. `others`: rows may have other fields.
    """
    found = [(line, format_of(line.row)) for line in lines]
    counts = Counter(name for _, name in found if name is not None)
    most = max(counts, key=counts.__getitem__, default=None)
    settled = most if wanted == "auto" else wanted
    unlike = _unlike(found, settled, mixed=len(counts) > 1 or settled == most, others=others)
    return settled, dict(islice(unlike, MAX_FAULTS))


def _unlike(
    found: Iterable[tuple[Line, RowFormat | None]], settled: RowFormat | None, *, mixed: bool, others: bool
) -> Iterator[tuple[int, Fault]]:
    for line, name in found:
        number = line.number
        if is_draft(line.row):
            text = "generated, and nobody has read it; look at it with `switchyard data review`, and train on its --out"
            yield number, Fault(number, "unreviewed_draft", text)
        elif (public := public_set_of(line.row, others=others)) is not None:
            text = f"a row as {public} has them; `switchyard data convert FILE --to chat --out NEW` writes it as a chat"
            yield number, Fault(number, "public_set", text)
        elif settled is None:
            keys = ", ".join(map(shown, list(line.row)[:MAX_KEYS_NAMED])) or "no keys"
            yield number, Fault(number, "unknown_format", f"the row has {keys}, which is no known form; {WANTED}")
        elif name not in (None, settled):
            yield number, _of_another(number, str(name), settled, mixed=mixed)


def _of_another(number: int, name: str, settled: str, *, mixed: bool) -> Fault:
    if mixed:
        text = f"one of form {name} in a file of form {settled}; keep rows of one form in a file"
        return Fault(number, "mixed_formats", text)
    text = f'the row is of form {name}, and data.format is "{settled}"; set data.format = "{name}", or "auto"'
    return Fault(number, "wrong_format", text)


def key_faults(number: int, row: dict[str, Any], name: RowFormat, *, others: bool = False) -> list[Fault]:
    """Keys that a row of this form has not, but for those that say nothing (null); with `others` only those that are
    meant to be one of the form's.
    """
    known = KEYS[name]
    unknown = sorted(key for key, value in row.items() if value is not None and key not in (*known, ORIGIN))
    if others:
        unknown = [key for key in unknown if get_close_matches(key.lower(), known, n=1, cutoff=CLOSE)]
    unknown = unknown[:MAX_KEYS_NAMED]
    remedy = "has only " + (repr(known[0]) if len(known) == 1 else ", ".join(map(repr, known)))
    return [
        Fault(number, "unrecognized_key", f"unknown key {shown(key)}; remove it: a row of form {name} {remedy}")
        for key in unknown
    ]
