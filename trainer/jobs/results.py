"""The course of a training as files: a CSV as OpenAI's, and a picture beside it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from trainer.curves import draw_curve
from trainer.jobs.folder import JobFolder
from trainer.jobs.watching import Course
from trainer.watch import StepMetrics

COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}
"""OpenAI's names, and ours."""


def write_results(course: Course, folder: JobFolder, job: str) -> None:
    """Both files. A loss of all held-out rows stands where there is none of a sample."""
    records = [_with_valid(record) for record in course.steps.values()]
    _write_csv(records, folder.results)
    measured = [StepMetrics(**record) for record in records]
    folder.curve.write_bytes(draw_curve(measured, job))


def _with_valid(record: dict[str, Any]) -> dict[str, Any]:
    filled = dict(record)
    for name in ("loss", "mean_token_accuracy"):
        if f"valid_{name}" not in filled and f"full_valid_{name}" in filled:
            filled[f"valid_{name}"] = filled[f"full_valid_{name}"]
    return filled


def _write_csv(records: list[dict[str, Any]], file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for record in records:
            writer.writerow([_plain(record.get(name)) for name in COLUMNS.values()])


def _plain(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.6g}"
