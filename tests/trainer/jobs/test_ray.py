"""Jobs on a real Ray cluster: the same adapter as here, whatever happens to node, worker or cluster."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from registry.training.jobs import TrainingJob
from tests.bars.support.trainers import CHECKPOINT_STEPS, Workshop, worker_process, workshop
from tests.support.on_demand import RAY
from tests.support.ray_cluster import Cluster, can_hide, ray_cluster
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.training,
    pytest.mark.timeout(2400),
    RAY.needed,
]
LONG_S = 400.0


@dataclass
class Place:
    """A workshop whose workers have their jobs done on the cluster."""

    shop: Workshop
    cluster: Cluster
    log: Path
    whole: str
    """The weights of a training that nothing happened to, on this machine."""

    def worker(self, address: str | None = None) -> AbstractContextManager[Popen[bytes]]:
        """`switchyard trainer` on that cluster."""
        more = RAY.environment() | {
            "SWITCHYARD_TRAINER_EXECUTOR": "ray",
            "SWITCHYARD_TRAINER_RAY_ADDRESS": address or self.cluster.address,
        }
        return worker_process(self.shop.settings, self.log, more=more)

    def ended(self, job: TrainingJob) -> TrainingJob:
        """As it ended."""
        return self.shop.wait(f"{job.id} to end", job, lambda now: now.has_ended)

    def is_whole(self, job: TrainingJob) -> bool:
        """Whether it succeeded, with the weights of the one that nothing happened to."""
        ended = self.ended(job)
        assert ended.status == "succeeded", (ended.error, self.log.read_text()[-3000:])
        return self.shop.weights(job) == self.whole

    def at_step(self, job: TrainingJob, step: int) -> None:
        """Until it has come so far."""
        wait_until(f"step {step}", lambda: self.shop.last_step(job) >= step or self.shop.job(job).has_ended, LONG_S)
        assert self.shop.job(job).status == "running"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("ray")
    log = folder / "workers.log"
    with workshop(folder / "shop") as shop, ray_cluster(folder / "shop") as cluster:
        with worker_process(shop.settings, log):
            job = shop.order("whole")
            shop.wait("the training on this machine", job, lambda now: now.has_ended)
        cluster.add_node()
        yield Place(shop, cluster, log, shop.weights(job))


def test_a_job_on_a_node_that_sees_none_of_our_files_makes_the_same_adapter(place: Place) -> None:
    with place.worker():
        job = place.shop.order("on-a-node")
        assert place.is_whole(job)
    assert place.shop.said(job, "The base is copied to the node") is can_hide()
    assert list(place.cluster.folder.glob("node-0/.cache/switchyard-trainer/jobs/*")) == []


def test_a_killed_actor_is_no_failure_of_its_job_which_goes_on_from_its_checkpoint(place: Place) -> None:
    with place.worker():
        job = place.shop.order("actor-killed")
        place.at_step(job, CHECKPOINT_STEPS + 1)
        for actor in place.cluster.actors():
            actor.send_signal(signal.SIGKILL)
        assert place.is_whole(job)
    assert "given back: its node was lost" in place.log.read_text()


def test_a_killed_worker_takes_its_child_along_and_another_worker_goes_on(place: Place) -> None:
    with place.worker() as worker:
        job = place.shop.order("worker-killed")
        place.at_step(job, CHECKPOINT_STEPS + 1)
        children = place.cluster.children()
        worker.send_signal(signal.SIGKILL)
        gone, alive = psutil.wait_procs(children, LONG_S)
        assert (bool(gone), alive) == (True, [])
    with place.worker():
        assert place.is_whole(job)


def test_a_paused_job_is_saved_and_a_cancelled_one_ends_at_once(place: Place) -> None:
    jobs = place.shop.registry.training
    with place.worker():
        job = place.shop.order("paused")
        place.at_step(job, 2)
        jobs.order(None, job.id, "pause")
        place.shop.wait("the pause", job, lambda now: now.status == "paused" and now.worker is None)
        (saved, *_) = jobs.checkpoints(None, job.id, None, 1)
        assert saved.step % CHECKPOINT_STEPS or saved.step == CHECKPOINT_STEPS
        jobs.order(None, job.id, "resume")
        assert place.is_whole(job)
        cancelled = place.shop.order("cancelled")
        place.at_step(cancelled, 2)
        children = place.cluster.children()
        jobs.order(None, cancelled.id, "cancel")
        gone, alive = psutil.wait_procs(children, 30)
        assert (bool(gone), alive) == (True, [])


def test_a_worker_that_is_on_none_of_its_machines_joins_by_the_port_for_clients(place: Place) -> None:
    jobs, address = place.shop.registry.training, place.cluster.client_address
    with place.worker(address):
        job = place.shop.order("by-client")
        place.at_step(job, 2)
        jobs.order(None, job.id, "pause")
        place.shop.wait("the pause", job, lambda now: now.status == "paused" and now.worker is None)
        jobs.order(None, job.id, "resume")
        assert place.is_whole(job)
        cancelled = place.shop.order("cancelled-by-client")
        place.at_step(cancelled, 2)
        children = place.cluster.children()
        jobs.order(None, cancelled.id, "cancel")
        gone, alive = psutil.wait_procs(children, 30)
        assert (bool(gone), alive) == (True, [])
    with place.worker(address) as worker:
        job = place.shop.order("killed-by-client")
        place.at_step(job, CHECKPOINT_STEPS + 1)
        children = place.cluster.children()
        worker.send_signal(signal.SIGKILL)
        gone, alive = psutil.wait_procs(children, LONG_S)
        assert (bool(gone), alive) == (True, [])
    with place.worker(address):
        assert place.is_whole(job)


def test_a_job_of_a_lost_machine_goes_on_when_there_is_another_one(place: Place) -> None:
    (node,) = [node for node in place.cluster.nodes if node.poll() is None]
    with place.worker():
        job = place.shop.order("node-lost")
        place.at_step(job, CHECKPOINT_STEPS + 1)
        place.cluster.kill_node(node)
        place.cluster.add_node()
        assert place.is_whole(job)


def test_without_a_cluster_jobs_wait_and_none_fails(place: Place, tmp_path: Path) -> None:
    log = tmp_path / "log"
    more = RAY.environment() | {
        "SWITCHYARD_TRAINER_EXECUTOR": "ray",
        "SWITCHYARD_TRAINER_RAY_ADDRESS": "127.0.0.1:1",
    }
    job = place.shop.order("no-cluster")
    with worker_process(place.shop.settings, log, more=more):
        wait_until("the worker to say so", lambda: "no cluster answers" in log.read_text(), LONG_S)
    waiting = place.shop.job(job)
    assert (waiting.status, waiting.worker) == ("validating_files", None)
    place.shop.registry.training.order(None, job.id, "cancel")
