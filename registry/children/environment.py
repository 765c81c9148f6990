"""What a process of its own is told, so that it opens the registry of the one that starts it."""

from __future__ import annotations

import os

from registry.children.asked import with_packages
from registry.service import Registry


def environment_of(registry: Registry) -> dict[str, str]:
    """This process's, with what it knows of the registry, however it was told."""
    settings = registry.settings
    own = {
        "SWITCHYARD_STATE_DIR": str(settings.state_dir.absolute()),
        "SWITCHYARD_DATABASE_URL": settings.resolved_database_url,
        "SWITCHYARD_BLOB_URL": registry.blobs.url,
    }
    if settings.archive_usage_after_days is not None:
        own["SWITCHYARD_ARCHIVE_USAGE_AFTER_DAYS"] = str(settings.archive_usage_after_days)
    return {**with_packages(os.environ), **own}
