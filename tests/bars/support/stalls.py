"""python -m tests.bars.support.stalls STATE: an event loop that keeps a catalog, and how late it ever was.

Prints `ready` once the catalog is there, measures from the first line that it reads to the second one, and prints one
JSON document: the greatest and the 99.9th percentile lateness of a task that sleeps a millisecond at a time, and the
catalog's revisions before and after.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from gateway.catalog_watch import CatalogWatch
from registry.service import Registry
from registry.settings import RegistrySettings

NAP_S = 0.001
POLL_S = 0.05


async def lateness(late_s: list[float]) -> None:
    """For ever: by how much each nap was too long."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(NAP_S)
        late_s.append(time.perf_counter() - began - NAP_S)


async def measure(state_dir: Path) -> dict[str, float]:
    """What the module's docstring says."""
    with Registry.open(RegistrySettings(state_dir=state_dir)) as registry:
        watch = CatalogWatch(registry, "stalls", "http://127.0.0.1:0", POLL_S)
        keeping = asyncio.create_task(watch.run(lambda: None))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        first, late_s = watch.current.revision, [0.0]
        probe = asyncio.create_task(lateness(late_s))
        await asyncio.to_thread(sys.stdin.readline)
        for task in (probe, keeping):
            task.cancel()
        await asyncio.gather(probe, keeping, return_exceptions=True)
        late_s.sort()
        return {
            "max_ms": late_s[-1] * 1e3,
            "p999_ms": late_s[int(len(late_s) * 0.999)] * 1e3,
            "naps": len(late_s),
            "from_revision": first,
            "to_revision": watch.current.revision,
        }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(Path(sys.argv[1])))))
