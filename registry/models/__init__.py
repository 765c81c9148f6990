"""The tables, by subject: who needs one imports its module alone, because mapping a table costs a command about 2 ms.

A module imports those that its foreign keys point at.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import MetaData


def whole_schema() -> MetaData:
    """Every table that there is."""
    from registry.models.base import Base

    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return Base.metadata
