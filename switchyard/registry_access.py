"""How commands open the registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from switchyard.imports import quick_imports

if TYPE_CHECKING:
    from registry.service import Registry


@contextmanager
def open_registry() -> Iterator[Registry]:
    """The registry of the settings in force; its SQL library is imported only now, so that `--help` is quick."""
    with quick_imports():
        from registry.service import Registry
    with Registry.open() as registry:
        yield registry
