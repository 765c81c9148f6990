"""python -m tests.bars.support.stalls STATE: an event loop that keeps a catalog, and how late it ever was.

Prints `ready` once the catalog is there, measures from the first line that it reads to the second one, and prints one
JSON document about a task that sleeps a millisecond at a time. `late_ms` is by how much its worst nap was too long.
`stall_ms` is the same, but a nap counts as late for no longer than this process computed meanwhile, in all threads: the
rest of the time other programs had the processor.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from gateway.catalog_watch import CatalogWatch
from gateway.serving.server import spare_what_lives
from registry.service import Registry
from registry.settings import RegistrySettings

NAP_S = 0.001
POLL_S = 0.05


async def nap(late_s: list[float], stalls_s: list[float]) -> None:
    """For ever: by how much each nap was too long, and how much of that this process may be to blame for."""
    while True:
        began_s, computed_s = time.perf_counter(), time.process_time()
        await asyncio.sleep(NAP_S)
        late_s.append(time.perf_counter() - began_s - NAP_S)
        stalls_s.append(min(late_s[-1], time.process_time() - computed_s))


async def measure(state_dir: Path) -> dict[str, float]:
    """What the module's docstring says."""
    with Registry.open(RegistrySettings(state_dir=state_dir)) as registry:
        watch = CatalogWatch(registry, "stalls", "http://127.0.0.1:0", POLL_S)
        keeping = asyncio.create_task(watch.run(lambda: None))
        spare_what_lives()  # as a gateway does when it has started
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        first, late_s, stalls_s = watch.current.revision, [0.0], [0.0]
        napping = asyncio.create_task(nap(late_s, stalls_s))
        await asyncio.to_thread(sys.stdin.readline)
        for task in (napping, keeping):
            task.cancel()
        await asyncio.gather(napping, keeping, return_exceptions=True)
        return {
            "late_ms": max(late_s) * 1e3,
            "stall_ms": max(stalls_s) * 1e3,
            "from_revision": first,
            "to_revision": watch.current.revision,
        }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(Path(sys.argv[1])))))
