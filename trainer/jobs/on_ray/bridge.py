"""The process between a worker and a node: `python -m trainer.jobs.on_ray.bridge PLACING [FOLDER]`.

It says on its standard output what the child on the node says, and at last how that has ended; it fetches checkpoints
and results before it says that they are there. Of SIGTERM it tells the child; killed, it takes actor and child along.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from registry.words import size
from trainer.jobs.child import waited_for
from trainer.jobs.folder import Assignment, JobFolder
from trainer.jobs.lines import STOPPED, Event, Finished, JobMouth, Saved, as_line, of_line
from trainer.jobs.on_ray.bases import files_of
from trainer.jobs.on_ray.carrying import below, files_below, read_piece, write_piece
from trainer.jobs.on_ray.node import Heard, RemoteJob, Where
from trainer.jobs.on_ray.placing import LOST_NODE, NO_CLUSTER, Placing

log = logging.getLogger("switchyard.trainer")
STAYS_HERE = frozenset({"checkpoints", "scratch", "child.log"})
"""Of a job's folder."""
RESULTS = ("out", "lineage.json", "step_metrics.csv", "training_curve.svg", "questions.jsonl")
CONNECT_S = 10.0
LISTEN_S = 1.0
ANSWER_S = 120.0
"""In which an actor must answer what it does at once."""
PATIENT_S = 10.0
"""Between two signs of life to the worker while something takes its time."""
GRACE_S = "5"
"""By `ray://`: how long the cluster waits for a connection that broke; then it ends the actor of this process, which is
gone or was killed. Ray's own 30 s would keep what was cancelled at work.
"""
AT_ONCE = 4
"""Pieces on their way."""


class NodeLost(Exception):
    """The actor does not answer any more."""


class Bridge:
    """Of one job. `ray` is the module, connected to a cluster."""

    def __init__(self, ray: Any, placing: Placing, folder: JobFolder, mouth: JobMouth) -> None:
        self._ray, self._placing = ray, placing
        self._folder, self._mouth = folder, mouth
        self._stops = False
        signal.signal(signal.SIGTERM, self._on_sigterm)
        options = {"num_cpus": placing.threads, "num_gpus": placing.gpus, "max_concurrency": 2 * AT_ONCE}
        self._actor = ray.remote(RemoteJob).options(**options).remote(placing)

    def run(self) -> int:
        """Until the child has ended. Its status was said then; returns this process's own."""
        base = self._base_on_node()
        if base is None:
            return STOPPED
        self._send("job", files_below(self._folder.path, STAYS_HERE))
        self._ask(self._actor.begin, base)
        told = False
        while True:
            if self._stops and not told:
                told = True
                self._ask(self._actor.stop)
            heard: Heard = self._ask(self._actor.lines, LISTEN_S)
            for text in heard.lines:
                self._relay(text)
            if heard.status is not None:
                break
        self._folder.log.write_text(self._ask(self._actor.log), encoding="utf-8")
        self._ask(self._actor.leave)
        ended = {"say": "ended", "status": heard.status, "out_of_memory": heard.out_of_memory}
        self._mouth.pass_on(json.dumps(ended) + "\n")
        return 0

    # Before the child

    def _base_on_node(self) -> str | None:
        """The base's folder on the node that the cluster has given; `None` when told to stop meanwhile."""
        assignment = Assignment.read(self._folder.path)
        base = Path(assignment.base_folder).resolve()
        found: str | None = self._patiently(self._actor.find_base, assignment.base_digest, str(base), waits=True)
        if found is None and not self._stops:
            files = files_of(base)
            length = sum(file.stat().st_size for _, file in files)
            self._say(f"The base is copied to the node: {size(length)}.")
            self._send("base", iter(files))
            found = self._patiently(self._actor.keep_base, assignment.base_digest)
        return None if self._stops else found

    def _patiently(self, method: Any, *arguments: Any, waits: bool = False) -> Any:
        """The answer to what may take minutes, while the worker hears that this lives; `None` when told to stop."""
        asked, told = method.remote(*arguments), not waits
        while not self._stops:
            done, _ = self._ray.wait([asked], timeout=PATIENT_S if told else LISTEN_S)
            if done:
                return self._got(asked)
            if not told:
                told = True
                self._say(f"Waiting for a node of the cluster with {self._placing.wanted}.")
            self._mouth.pass_on("\n")
        return None

    def _send(self, where: Where, files: Any) -> None:
        under_way: list[Any] = []
        for name, file in files:
            offset, length = 0, file.stat().st_size
            while offset < length or offset == 0:
                if len(under_way) >= AT_ONCE:
                    self._got(under_way.pop(0))
                    self._mouth.pass_on("\n")
                data = read_piece(file, offset)
                under_way.append(self._actor.write.remote(where, name, offset, data))
                offset += max(1, len(data))
                if self._stops and where == "base":
                    return
        for asked in under_way:
            self._got(asked)

    # While it works

    def _relay(self, text: str) -> None:
        said = of_line(text)
        if isinstance(said, Saved):
            name = f"checkpoints/{Path(said.folder).name}"
            self._fetch(name)
            self._ask(self._actor.remove, name)
            text = as_line(replace(said, folder=str(below(self._folder.path, name))))
        elif isinstance(said, Finished):
            for name in RESULTS:
                self._fetch(name)
        self._mouth.pass_on(text)

    def _fetch(self, name: str) -> None:
        """A file or folder of the job, from the node."""
        for file, length in self._ask(self._actor.files, name):
            target, offset = below(self._folder.path, file), 0
            while offset < length or offset == 0:
                data = self._ask(self._actor.read, file, offset)
                if not data and length:
                    raise NodeLost(f"{file} ended after {offset} of {length} bytes")
                write_piece(target, offset, data)
                offset += max(1, len(data))

    def _ask(self, method: Any, *arguments: Any) -> Any:
        return self._got(method.remote(*arguments))

    def _got(self, asked: Any) -> Any:
        try:
            return self._ray.get(asked, timeout=ANSWER_S)
        except self._ray.exceptions.RayTaskError:  # what the actor itself has raised
            raise
        except (self._ray.exceptions.RayError, ConnectionError) as error:  # by `ray://` the cluster itself may be lost
            raise NodeLost(f"{type(error).__name__}: {error}") from error

    def _say(self, message: str) -> None:
        self._mouth.say(Event(message))

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        self._stops = True


def main(arguments: Sequence[str], connect: Callable[[Placing], Any] | None = None) -> int:
    """Bring one job to a node; returns the exit status."""
    mouth = JobMouth()
    placing = Placing.of_json(arguments[0])
    path = Path(arguments[1]) if arguments[1:] else waited_for(("ray",))
    if path is None:
        return 0
    try:
        ray = (connect or connected)(placing)
    except Exception:  # Ray's own errors, and those of the libraries under it, share no nearer ancestor
        traceback.print_exc()
        return NO_CLUSTER
    try:
        return Bridge(ray, placing, JobFolder(path), mouth).run()
    except NodeLost:
        traceback.print_exc()
        return LOST_NODE
    finally:
        with suppress(Exception):
            ray.shutdown()


def connected(placing: Placing) -> Any:
    """The module `ray`, which has joined the cluster. Raises OSError and what Ray raises when there is none."""
    address = os.environ.get("RAY_ADDRESS", "") if placing.address == "auto" else placing.address
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():  # Ray itself looks for minutes for one that is not there
        socket.create_connection((host, int(port)), CONNECT_S).close()
    os.environ.setdefault("RAY_CLIENT_RECONNECT_GRACE_PERIOD", GRACE_S)
    ray = importlib.import_module("ray")
    begun_s = time.monotonic()
    ray.init(address=placing.address, log_to_driver=False, logging_level="error", ignore_reinit_error=False)
    log.warning("joined %s in %.1f s", placing.address, time.monotonic() - begun_s)
    return ray


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
