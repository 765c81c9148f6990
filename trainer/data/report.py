"""All that the checks say of a file: `switchyard data check`, and what a training says of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from trainer.data.checks import CHECKLIST, Rows
from trainer.data.findings import Finding, finding
from trainer.data.near import near_groups
from trainer.data.overlap import Overlap, rows_of, seen_rows
from trainer.data.privacy import personal_data
from trainer.data.provenance import provenance
from trainer.data.read import Dataset
from trainer.data.template_tokens import template_tokens

MAX_LABELS_SHOWN = 20
MAX_LABEL_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of one file of rows that can be read. `kinds` and `labels` count answers; lengths in characters."""

    file: str
    format: str
    digest: str
    rows: int
    answers: int
    kinds: dict[str, int]
    labels: dict[str, int]
    prompt_lengths: tuple[int, ...]
    answer_lengths: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """Findings with which nothing should be trained."""
        return sum(found.level == "error" for found in self.findings)

    def document(self) -> dict[str, Any]:
        """JSON-ready, with percentiles in place of lengths."""
        facts = {
            name: value for name, value in asdict(self).items() if name not in ("prompt_lengths", "answer_lengths")
        }
        lengths = {"prompt": percentiles(self.prompt_lengths), "answer": percentiles(self.answer_lengths)}
        return facts | {"characters": lengths}


WEIGHT = {"error": 0, "warn": 1, "info": 2}


def report(data: Dataset, base_name: str | None = None, more: Iterable[Finding] = ()) -> Report:
    """Check a data set; `base_name` is the model that is to be trained, `more` what else was found."""
    rows = Rows.of(data, rows_of(data.examples))
    labels = Counter({label[:MAX_LABEL_CHARACTERS]: count for label, count in rows.labels.items()})
    return Report(
        file=str(data.file),
        format=data.format,
        digest=data.digest,
        rows=data.rows,
        answers=len(data.examples),
        kinds=dict(Counter(map(str, rows.kinds)).most_common()),
        labels=dict(labels.most_common(MAX_LABELS_SHOWN)),
        prompt_lengths=tuple(_prompt_length(example.prompt) for example in data.examples),
        answer_lengths=tuple(len(example.answer.text) for example in data.examples),
        findings=tuple(sorted([*_findings(rows, base_name), *more], key=lambda found: WEIGHT[found.level])),
    )


def findings_of(data: Dataset, base_name: str | None = None) -> list[Finding]:
    """What is found in one set of rows."""
    return list(_findings(Rows.of(data, rows_of(data.examples)), base_name))


NEAR_SHARE = 0.1


def leaks(train: Dataset, heldout: Dataset, overlap: Overlap) -> Iterator[Finding]:
    """Held-out rows that ask what training rows ask, or nearly."""
    if overlap.seen:
        yield finding("warn", "leak", seen_text(overlap), overlap.lines)
    trained, held = rows_of(train.examples), rows_of(heldout.examples)
    exact = {row.line for row in seen_rows(trained, held)}
    leaders = near_groups([row.asked for row in [*trained, *held]])
    near_training = set(leaders[: len(trained)])
    near = [
        row.line
        for row, leader in zip(held, leaders[len(trained) :], strict=True)
        if leader in near_training and row.line not in exact
    ]
    if near:
        text = f"{len(near)} of {len(held)} held-out rows ask nearly what training rows ask: figures on them flatter"
        yield finding("warn" if len(near) > NEAR_SHARE * len(held) else "info", "near_leak", text, near)


def seen_text(found: Overlap) -> str:
    """How many held-out rows are training rows."""
    return (
        f"{found.seen} of {found.heldout_rows} held-out rows ask what training rows ask, "
        f"{found.seen_answers} of them with the same answer"
    )


def percentiles(values: Iterable[int]) -> dict[str, int]:
    """Of whole numbers: the smallest value that so many of 100 do not exceed."""
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {f"p{share}": ordered[max(0, -(-share * len(ordered) // 100) - 1)] for share in (50, 90, 95, 99)}
    return {"min": ordered[0], **at, "max": ordered[-1], "sum": sum(ordered)}


def _findings(rows: Rows, base_name: str | None) -> Iterator[Finding]:
    for check in CHECKLIST:
        yield from check(rows)
    yield from template_tokens(rows.rows)
    yield from personal_data(rows.rows)
    yield from provenance(rows.data, base_name)


def _prompt_length(prompt: Any) -> int:
    return len(prompt) if isinstance(prompt, str) else sum(len(turn.text) for turn in prompt)
