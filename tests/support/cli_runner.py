"""Runs `switchyard …` in this process, through its real entry point, and gives back what a shell would see."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import switchyard
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.adapter_folders import TinyBase
from tests.support.migrated import migrated


@dataclass(frozen=True)
class Outcome:
    """Exit status and both streams of one command."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output, which must be one JSON document."""
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Commands on a state folder of their own, without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(migrated(tmp_path / "state")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["switchyard", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        with monkeypatch.context() as here:
            here.setattr(
                gc, "freeze", lambda: None
            )  # of what it has imported; here that would be what other tests left
            try:
                switchyard.main()
            except SystemExit as stop:
                status = stop.code if isinstance(stop.code, int) else 0
        streams = capsys.readouterr()
        return Outcome(status, streams.out, streams.err)

    return run


@pytest.fixture
def done(run: Run) -> Run:
    """The same for commands that must succeed."""

    def done(*arguments: str | Path) -> Outcome:
        outcome = run(*arguments)
        assert outcome.status == 0, outcome.err
        return outcome

    return done


@pytest.fixture
def tiny_base(tmp_path: Path) -> str:
    """The name of a registered base model."""
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        return registry.bases.register("tiny", TinyBase().write(tmp_path / "tiny")).name
