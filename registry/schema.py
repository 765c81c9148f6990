"""All tables. Each subject has its own in `rows.py`, and who needs one imports that alone: mapping a table costs a
command about 2 ms. A module of rows imports those that its foreign keys point at.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import MetaData

SUBJECTS = tuple(sorted(rows.parent.name for rows in Path(__file__).parent.glob("*/rows.py")))


def whole_schema() -> MetaData:
    """Every table that there is."""
    from registry.tables import Base

    for subject in SUBJECTS:
        importlib.import_module(f"registry.{subject}.rows")
    return Base.metadata
