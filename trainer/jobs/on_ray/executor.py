"""Starts bridges, and says of each how its child on the node has ended."""

from __future__ import annotations

import importlib.util
import json

from trainer.errors import TrainerError
from trainer.jobs.executors import LOST, NO_PLACE, LocalExecutor, Running
from trainer.jobs.folder import JobFolder
from trainer.jobs.lines import STOPPED
from trainer.jobs.on_ray.placing import NO_CLUSTER, Placing

ENDED = '{"say": "ended"'
PROGRAM = "trainer.jobs.on_ray.bridge"


class RayExecutor:
    """Children on nodes of a Ray cluster. Raises TrainerError when Ray is not installed here."""

    def __init__(self, placing: Placing) -> None:
        if importlib.util.find_spec("ray") is None:
            raise TrainerError(
                "the executor is 'ray', and the package ray is not installed here; install it in the version of the "
                "cluster (pip install ray==VERSION), or train on this machine with --executor local"
            )
        self._bridges = LocalExecutor(1, 0, (PROGRAM, placing.to_json()))

    def start(self, folder: JobFolder) -> Running:
        """As `Executor` says."""
        return RayChild(self._bridges.start(folder))

    def prepare(self) -> None:
        """As `Executor` says."""
        self._bridges.prepare()

    def dismiss(self) -> None:
        """As `Executor` says."""
        self._bridges.dismiss()


class RayChild:
    """A child on a node, by its bridge."""

    def __init__(self, running: Running) -> None:
        self._bridge = running
        self._ended: int | None = None
        self.out_of_memory: bool | None = None

    def next_line(self, timeout_s: float) -> str | None:
        """As `Running` says."""
        line = self._bridge.next_line(timeout_s)
        if line is not None and line.startswith(ENDED):
            document = json.loads(line)
            self._ended, self.out_of_memory = int(document["status"]), document["out_of_memory"]
        return line

    @property
    def status(self) -> int | None:
        """As `Running` says: that of the child, if the bridge could still say it."""
        status = self._bridge.status
        if status is None or status == STOPPED:
            return status
        if self._ended is not None:
            return self._ended
        return NO_PLACE if status == NO_CLUSTER else LOST

    def stop(self) -> None:
        """SIGTERM to the bridge, which passes it on."""
        self._bridge.stop()

    def kill(self) -> None:
        """SIGKILL to the bridge: the cluster ends the actor of a driver that is gone, and the kernel its child."""
        self._bridge.kill()
