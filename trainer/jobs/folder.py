"""The folder of a job: what its child process is given, and what it leaves there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from registry.training.jobs import JobOrder, Work

QUOTE = "quote"
"""Its key in a job's facts."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a child is to do; `job.json` in its folder.

    Checkpoints are made every `checkpoint_s` seconds and every `checkpoint_steps` steps, if that is given, and at the
    end of epochs. `continues` says that the adapter to go on from lies in the folder, `resumes` that a checkpoint does.
    `most_rank` is the largest that the engines hold, `quoted` what the child that validated has quoted, `prices` what
    `quoting.prices_of` says, `wandb_entity` where W&B keeps what the order's integrations ask for.
    """

    job: str
    work: Work
    order: JobOrder
    base_folder: str
    base_digest: str
    continues: bool = False
    resumes: bool = False
    checkpoint_s: float = 60.0
    checkpoint_steps: int | None = None
    most_rank: int = 512
    quoted: Mapping[str, Any] = field(default_factory=dict)
    prices: Mapping[str, Any] = field(default_factory=dict)
    wandb_entity: str | None = None

    def write(self, folder: Path) -> None:
        """As JSON."""
        (folder / "job.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Assignment:
        """What `write` wrote."""
        document: dict[str, Any] = json.loads((folder / "job.json").read_bytes())
        return cls(**{**document, "order": JobOrder(**document["order"])})


@dataclass(frozen=True, slots=True)
class JobFolder:
    """Where things are."""

    path: Path

    @property
    def train(self) -> Path:
        """Training rows."""
        return self.path / "train.jsonl"

    @property
    def heldout(self) -> Path:
        """Rows of the validation file, if there is one."""
        return self.path / "heldout.jsonl"

    @property
    def recipe(self) -> Path:
        """Written by the child that validates, and given to the one that trains."""
        return self.path / "RECIPE.toml"

    @property
    def start(self) -> Path:
        """The adapter to go on from."""
        return self.path / "start"

    @property
    def resume(self) -> Path:
        """The checkpoint to go on from."""
        return self.path / "resume"

    @property
    def checkpoints(self) -> Path:
        """Where complete checkpoints appear, each by one rename."""
        return self.path / "checkpoints"

    @property
    def out(self) -> Path:
        """The adapter."""
        return self.path / "out"

    @property
    def lineage(self) -> Path:
        """Of the adapter, as JSON."""
        return self.path / "lineage.json"

    @property
    def results(self) -> Path:
        """What was measured at every step, as CSV."""
        return self.path / "step_metrics.csv"

    @property
    def curve(self) -> Path:
        """The same as a picture."""
        return self.path / "training_curve.svg"

    @property
    def questions(self) -> Path:
        """The held-out rows, as rows of an evaluation."""
        return self.path / "questions.jsonl"

    @property
    def scratch(self) -> Path:
        """For temporary files, on the same disk, so that a checkpoint can be linked and need not be copied."""
        return self.path / "scratch"

    @property
    def log(self) -> Path:
        """The child's standard error."""
        return self.path / "child.log"

    def make(self) -> None:
        """Empty, with the folders that a child needs."""
        shutil.rmtree(self.path, ignore_errors=True)
        for folder in (self.path, self.checkpoints, self.scratch):
            folder.mkdir(parents=True, mode=0o700)

    def remove(self) -> None:
        """With all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


NOT_NEEDED = ("README.md", "training_args.bin", "chat_template.jinja", "vocab.json", "merges.txt")
TOKENIZER = ("tokenizer", "special_tokens", "added_tokens")


def keep_checkpoint(folder: Path, checkpoints: Path, step: int, more: Mapping[str, str]) -> Path:
    """Keep what a training needs to go on, from `folder`, as `step-N`: complete by one rename, or not there.

    `more` are further files by name. Tokenizer and model card stay behind. Raises OSError.
    """
    target, beside = checkpoints / f"step-{step}", checkpoints / f".step-{step}"
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(folder, beside, copy_function=_link, ignore=_unneeded)
    for name, text in more.items():
        (beside / name).write_text(text, encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    os.replace(beside, target)
    return target


def _unneeded(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in NOT_NEEDED or name.startswith(TOKENIZER)]


def _link(source: str, target: str) -> None:
    """A hard link, or a copy where the disk is another."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
