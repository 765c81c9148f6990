"""What a process of its own finds in its environment: how to open the registry of the one that starts it, or not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from registry.children.asked import with_packages

if TYPE_CHECKING:
    from registry.service import Registry

OURS = "SWITCHYARD_"
"""Begins the name of each of our settings, and of their files of secrets."""


def without_settings() -> dict[str, str]:
    """This process's, for one that is told all that it needs: our settings stay behind."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


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
