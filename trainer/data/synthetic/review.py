"""What a person decided: counts, and the rows that may be trained on."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainer.data.faults import DataError, Fault
from trainer.data.formats import format_of
from trainer.data.lines import read_lines
from trainer.data.parse import parse
from trainer.data.synthetic.drafts import ACCEPTED, Draft


def counts(drafts: Iterable[Draft]) -> dict[str, int]:
    """Drafts by status."""
    return {"draft": 0, "accepted": 0, "edited": 0, "rejected": 0} | Counter(draft.status for draft in drafts)


def changed_row(text: str) -> dict[str, Any]:
    """A row as a person has written it. Raises ValueError, whose text says what is wrong."""
    try:
        row = json.loads(text)
    except RecursionError as failed:
        raise ValueError("nested without end") from failed
    form = format_of(row) if isinstance(row, dict) else None
    if form is None:
        raise ValueError("no row of a known form; keep its keys")
    faults = parse(1, row, form).faults
    if faults:
        raise ValueError("; ".join(fault.message for fault in faults))
    return dict(row)


def export(drafts: Iterable[Draft], file: Path) -> int:
    """Write the accepted rows, each with its origin, in place of what an earlier review wrote; gives back how many.

    Raises DataError when the file holds anything else, or cannot be written.
    """
    _require_own(file)
    rows = [draft.reviewed_row for draft in drafts if draft.status in ACCEPTED]
    try:
        descriptor, beside = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        with open(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        os.replace(beside, file)
    except OSError as failed:
        text = f"cannot be written ({failed.strerror}); give the name of a file in a folder that is there"
        raise DataError((str(file), [Fault(1, "unwritable", text)])) from failed
    return len(rows)


def _require_own(file: Path) -> None:
    if not file.exists() or file.stat().st_size == 0:
        return
    read = read_lines(file)
    origins = [line.row.get("origin") for line in read.lines]
    if read.faults or not all(isinstance(origin, dict) and "draft" in origin for origin in origins):
        text = "holds rows that no review wrote, which would be lost; name another file"
        raise DataError((str(file), [Fault(1, "not_of_a_review", text)]))
