"""Keeps a job while its child works: renews the lease in a thread of its own, and says at once when it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError

from registry.training.jobs import LeaseLost, Wanted
from registry.training.store import TrainingJobs

RENEWALS = 6
"""In the time of a lease, at least."""
MOST_PAUSE_S = 2.0
"""Between two of them: so soon a worker hears that its job is cancelled."""


class Lease:
    """A job that this worker has. Within the block it is renewed; `over` is called once, from another thread, when the
    job is cancelled, lost, or could not be renewed in time.
    """

    def __init__(self, jobs: TrainingJobs, job: str, worker: str, lease_s: float) -> None:
        self._jobs = jobs
        self._job, self._worker, self._lease_s = job, worker, lease_s
        self._ended = threading.Event()
        self._renewed_s = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name=f"lease of {job}", daemon=True)
        self.over: Callable[[], None] = lambda: None
        self.wanted: Wanted = "run"
        self.lost = False
        """Nothing that is written for the job any more is taken."""

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do for this job."""
        return self.lost or self.wanted == "cancel"

    def _keep(self) -> None:
        while not self._ended.wait(min(MOST_PAUSE_S, self._lease_s / RENEWALS)):
            self._renew()
            if self.is_over:
                self.over()
                return

    def _renew(self) -> None:
        begun_s = time.monotonic()
        try:
            self.wanted = self._jobs.renew(self._job, self._worker, self._lease_s)
            self._renewed_s = begun_s
        except LeaseLost:
            self.lost = True
        except SQLAlchemyError:  # the database is away; until the lease ends nobody else has the job
            self.lost = time.monotonic() - self._renewed_s > self._lease_s
