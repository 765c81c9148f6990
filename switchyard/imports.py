"""Imports are most of a command's time: what makes them quicker than Python's defaults."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else pydantic reads the metadata of every package


@contextmanager
def quick_imports() -> Iterator[None]:
    """What is imported stays, so nothing of it is looked through for garbage, now or later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
