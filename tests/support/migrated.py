"""State folders whose database has the newest schema and the prices that are shipped already: a copy of one that this
process has made once.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from registry.db import Database
from registry.prices.baselines import Baselines
from registry.storage.private import private_folder

NAME = "registry.db"


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = Database(f"sqlite:///{folder / NAME}")
    database.migrate()
    Baselines(database).version()  # takes the table of prices that is shipped: some milliseconds of every installation
    database.close()
    return folder / NAME


def migrated(state_dir: Path) -> Path:
    """Make the folder as the first command on it leaves it, unless a database is there; the value is the folder."""
    private_folder(state_dir)
    if not (state_dir / NAME).exists():
        shutil.copy(_template(), state_dir / NAME)  # with its mode: the file is its user's alone
    return state_dir
