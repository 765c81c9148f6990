"""The quarantine: a file of drafts that no training reads, and of what persons decided about them.

Every line is appended and synced, so that nothing is lost with the process. A line is a draft or a decision; the last
decision on a draft counts.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from trainer.data.faults import DataError, Fault
from trainer.data.lines import read_lines

Status = Literal["draft", "accepted", "edited", "rejected"]
ACCEPTED: tuple[Status, ...] = ("accepted", "edited")
FACTS = ("kind", "topic", "model", "api", "at", "of")
STATUSES = ("accepted", "edited", "rejected")


@dataclass(frozen=True, slots=True)
class Draft:
    """One row that a model wrote. `of` is the key of the row that it was made from; times are UTC, ISO 8601."""

    id: str
    row: dict[str, Any]
    kind: str
    topic: str
    model: str
    api: str
    at: str
    of: str = ""
    status: Status = "draft"
    by: str = ""
    reviewed_at: str = ""

    @property
    def line(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {"draft": {"id": self.id, **{name: getattr(self, name) for name in FACTS}}, "row": self.row}

    @property
    def reviewed_row(self) -> dict[str, Any]:
        """The row as it may be trained on, with its origin."""
        origin = {"kind": self.kind, "model": self.model, "topic": self.topic, "draft": self.id}
        origin |= {"of": self.of} if self.of else {}
        return self.row | {"origin": origin | {"reviewed_by": self.by, "reviewed_at": self.reviewed_at}}


def new_draft(row: dict[str, Any], *, kind: str, topic: str, model: str, api: str, of: str = "") -> Draft:
    """Made now; the id is of its row."""
    text = json.dumps([row, topic, model], sort_keys=True, ensure_ascii=False)
    identity = blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()
    return Draft(identity, row, kind, topic, model, api, now(), of)


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_drafts(file: Path) -> dict[str, Draft]:
    """By id, with what was decided; empty when there is no file. Raises DataError for a file that is no such one."""
    if not file.exists():
        return {}
    read = read_lines(file)
    faults = [fault for fault in read.faults if fault.code != "empty_file"]
    drafts: dict[str, Draft] = {}
    for line in read.lines:
        try:
            _take(drafts, line.row)
        except (KeyError, TypeError, AttributeError, ValueError):
            text = "is neither a draft nor a decision; give a file that `switchyard data generate` or `augment` wrote"
            faults.append(Fault(line.number, "no_draft", text))
    if faults:
        raise DataError((str(file), faults))
    return drafts


def _take(drafts: dict[str, Draft], row: dict[str, Any]) -> None:
    if "decision" in row:
        decided = row["decision"]
        status = decided["status"]
        if status not in STATUSES:
            raise ValueError(status)
        draft = drafts[decided["id"]]
        changed = row.get("row", draft.row)
        drafts[draft.id] = replace(
            draft, row=dict(changed), status=status, by=str(decided["by"]), reviewed_at=str(decided["at"])
        )
        return
    facts = row["draft"]
    named: dict[str, Any] = {name: str(facts.get(name, "")) for name in ("id", *FACTS)}
    drafts[named["id"]] = Draft(row=dict(row["row"]), **named)


class DraftsFile:
    """A file of drafts that is open to be added to; one process at a time."""

    def __init__(self, file: Path, stream: Any) -> None:
        self.file, self._stream = file, stream
        self.drafts = read_drafts(file)

    def add(self, draft: Draft) -> None:
        """Keep a draft, durably."""
        self.drafts[draft.id] = draft
        self._append(draft.line)

    def decide(self, draft: Draft, status: Status, by: str, row: dict[str, Any] | None = None) -> Draft:
        """Keep what a person says of it; `row` is what it was changed to."""
        decided = replace(draft, status=status, by=by, reviewed_at=now(), row=draft.row if row is None else row)
        line: dict[str, Any] = {"decision": {"id": draft.id, "status": status, "by": by, "at": decided.reviewed_at}}
        self._append(line if row is None else line | {"row": row})
        self.drafts[draft.id] = decided
        return decided

    def _append(self, line: dict[str, Any]) -> None:
        self._stream.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())


@contextmanager
def open_drafts(file: Path) -> Iterator[DraftsFile]:
    """Open or make it. Raises DataError when it cannot be, is no file of drafts, or another process has it."""
    try:
        with file.open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield DraftsFile(file, stream)
    except BlockingIOError as failed:
        text = "another command writes to it; wait for its end, or name another file"
        raise DataError((str(file), [Fault(1, "in_use", text)])) from failed
    except OSError as failed:
        text = f"cannot be written ({failed.strerror}); give the name of a file in a folder that is there"
        raise DataError((str(file), [Fault(1, "unwritable", text)])) from failed
