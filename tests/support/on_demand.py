"""Optional packages that no lock has, each in a folder of its own under var/: `python -m tests.support.on_demand NAME`.

They are appended to the path of a process that needs them, behind our own packages, so that those stay as locked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL_S = 280


@dataclass(frozen=True, slots=True)
class OnDemand:
    """What pip is told to install; `alone`: without what it depends on, which is in the lock."""

    packages: tuple[str, ...]
    alone: bool = False
    newer_python: bool = False
    """Whether it says that it needs a newer Python than ours, and runs here all the same with `mended`."""
    mended: tuple[tuple[str, str, str], ...] = ()
    """File in its folder, what stands there, and what must."""

    @property
    def name(self) -> str:
        """Of the first package with its version."""
        return self.packages[0].replace("==", "-")

    @property
    def folder(self) -> Path:
        """To be appended to a path."""
        return ROOT / "var" / "optional" / self.name

    @property
    def needed(self) -> pytest.MarkDecorator:
        """Skips a test where it is not installed."""
        return pytest.mark.skipif(
            not (self.folder / ".ready").exists(),
            reason=f"needs {self.name}, which no lock has: `python -m tests.support.on_demand {self.name}`",
        )

    def environment(self) -> dict[str, str]:
        """In which a process finds it, behind our own packages."""
        begin = os.pathsep.join(path for path in sys.path if path)
        return {"PYTHONPATH": f"{begin}{os.pathsep}{self.folder}"}

    def make(self) -> None:
        """Install it, unless it is there. Raises CalledProcessError."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (self.folder / ".ready").exists():
                return
            shutil.rmtree(self.folder, ignore_errors=True)
            options = ["--no-deps"] if self.alone else []
            subprocess.run(
                [*self._installer(), "--target", str(self.folder), *options, *self.packages],
                check=True,
                timeout=INSTALL_S,
            )
            for file, before, after in self.mended:
                text = (self.folder / file).read_text()
                assert before in text, f"{self.name} is another one than was mended"
                (self.folder / file).write_text(text.replace(before, after))
            (self.folder / ".ready").touch()

    def _installer(self) -> list[str]:
        """uv takes a twentieth of pip's processor time; only pip installs what says that it needs a newer Python."""
        if self.newer_python:
            return [sys.executable, "-m", "pip", "install", "-q", "--no-warn-conflicts", "--ignore-requires-python"]
        uv = str(Path(sys.executable).parent / "uv")
        return [uv, "pip", "install", "-q", "--python", sys.executable]


RAY = OnDemand(("ray==2.60.0", "click", "msgpack"), alone=True)
MLFLOW = OnDemand(("mlflow==3.17.2",))
WANDB = OnDemand(("wandb==0.31.0",), alone=True)
TENSORBOARD = OnDemand(("tensorboard==2.20.0",))
VILLE = OnDemand(("ville==0.1.0",), alone=True)
FOCUS = OnDemand(
    ("focus-validator==2.2.1", "pyarrow<22"),  # newer pyarrow wants numpy 2, which the validator refuses
    newer_python=True,
    mended=(
        (
            "focus_validator/config_objects/focus_to_duckdb_converter.py",
            """f"'{k.replace('\\"', '\\"\\"')}'" for k""",
            """"'" + k.replace('"', '""') + "'" for k""",
        ),
    ),
)
"""The validator of the FinOps Open Cost and Usage Specification: one line of it is Python 3.12's."""
CYCLONEDX = OnDemand(("cyclonedx-bom==7.5.0", "cyclonedx-python-lib[json-validation]==11.12.0"))
"""Writes down what is in a lock, in the form that auditors' tools read."""
ALL = (RAY, MLFLOW, WANDB, TENSORBOARD, VILLE, FOCUS, CYCLONEDX)

if __name__ == "__main__":
    for one in ALL:
        if one.name in sys.argv[1:] or one.name.split("-")[0] in sys.argv[1:]:
            one.make()
