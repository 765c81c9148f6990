"""The base model that tests of the trainer share."""

from __future__ import annotations

import gc
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.tiny_base import write_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of the module's own, which its tests may add files to."""
    return write_tiny_base(tmp_path_factory.mktemp("bases") / "tiny-llama")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A model of some thousand weights is trained by one thread: others would only wait for it, busily."""
    if item.get_closest_marker("training") is not None:
        import torch

        torch.set_num_threads(1)
        if "trl" in sys.modules:
            _spare_what_was_imported()


@cache
def _spare_what_was_imported() -> None:
    """Every training collects garbage, and would look through all of it: a second each."""
    gc.freeze()
