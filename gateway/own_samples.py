"""What a worker can tell Prometheus without adding up: itself, its disk, and engines as they were published last."""

from __future__ import annotations

import importlib.metadata
import os
import platform

from gateway.engines.engine import TAKES_TRAFFIC
from gateway.fleet.worker import FleetWorker
from gateway.house import House
from gateway.metrics import families
from gateway.metrics.sums import Samples

BUILD = [importlib.metadata.version("switchyard"), platform.python_version()]


def own_samples(house: House, worker: FleetWorker) -> Samples:
    """Samples by family."""
    states = worker.states()
    quarantined = sum(one.quarantined is not None for one in house.catalog.current.versions_by_id.values())
    disk = os.statvfs(house.settings.state_dir)
    return {
        families.BUILD.name: [[BUILD, 1]],
        families.LINKED.name: [[[], int(worker.link.linked)]],
        families.ENGINE_UP.name: [[[url], int(state in TAKES_TRAFFIC)] for url, (state, _, _) in states.items()],
        families.ENGINE_REFUSED.name: [[[url], int(state == "refused")] for url, (state, _, _) in states.items()],
        families.RESIDENT.name: [[[url], resident] for url, (_, _, resident) in states.items()],
        families.QUARANTINED.name: [[[], quarantined]],
        families.DISK_FREE.name: [[[], disk.f_bavail * disk.f_frsize]],
        families.DISK_SIZE.name: [[[], disk.f_blocks * disk.f_frsize]],
    }
