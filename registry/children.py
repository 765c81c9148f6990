"""What a process of its own is told, so that it opens the registry of the one that starts it."""

from __future__ import annotations

import os
from pathlib import Path

from registry.service import Registry

HOME = Path(__file__).parents[1]
"""Where the packages are, if they are not installed."""


def environment_of(registry: Registry) -> dict[str, str]:
    """This process's, with what it knows of the registry, however it was told."""
    settings = registry.settings
    own = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH")))),
        "SWITCHYARD_STATE_DIR": str(settings.state_dir.absolute()),
        "SWITCHYARD_DATABASE_URL": settings.resolved_database_url,
        "SWITCHYARD_BLOB_URL": registry.blobs.url,
    }
    if settings.archive_usage_after_days is not None:
        own["SWITCHYARD_ARCHIVE_USAGE_AFTER_DAYS"] = str(settings.archive_usage_after_days)
    return {**os.environ, **own}
