"""Garbage is not looked for among what was imported and collected: all modules and tests are hundreds of thousands of
objects that live as long as the process, and a look at each of them takes some tenths of a second.
"""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing of what comes to be here is garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """What libraries look for at the end must be there to be let go."""
    gc.unfreeze()
