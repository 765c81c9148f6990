"""Work of a duty in a process of its own, which yields to this one and can be ended anywhere."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from registry.service import Registry

NICENESS = 10
HOME = Path(__file__).parents[3]
"""Where the packages are, if they are not installed."""


class AsideFailed(Exception):
    """The process ended with this; nothing was lost by it, and it is tried again."""


async def run_aside(registry: Registry, *arguments: str, within_s: float) -> str:
    """What `python -m …` said in the end, with the registry of this process. Raises `AsideFailed`, and `TimeoutError`
    when it took longer, which ends it.
    """
    child = await asyncio.create_subprocess_exec(
        *("nice", f"-n{NICENESS}", sys.executable, "-m", *arguments),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env=_environment(registry),
    )
    try:
        async with asyncio.timeout(within_s):
            out, err = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    if child.returncode:
        said = err.decode(errors="replace").strip().splitlines()[-1:] or [f"status {child.returncode}"]
        raise AsideFailed(said[0])
    return out.decode().strip()


def _environment(registry: Registry) -> dict[str, str]:
    """What this process was told of the registry, however it was told."""
    settings = registry.settings
    own = {
        "SWITCHYARD_STATE_DIR": str(settings.state_dir.absolute()),
        "SWITCHYARD_DATABASE_URL": settings.resolved_database_url,
        "SWITCHYARD_BLOB_URL": registry.blobs.url,
    }
    if settings.archive_usage_after_days is not None:
        own["SWITCHYARD_ARCHIVE_USAGE_AFTER_DAYS"] = str(settings.archive_usage_after_days)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH")))), **own}
