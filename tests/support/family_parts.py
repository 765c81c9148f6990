"""A gateway of several processes over mock engines, and traffic on it whose every answer is kept."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import psutil

from loadtest.testing import MockEngine
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.stack import CHAT, MESSAGES, House
from tests.support.waiting import DEADLINE_S, wait_until

BETWEEN_REQUESTS_S = 0.02
"""Traffic meets every step of a succession so too, and leaves the machine to what is tested."""
WORKERS = 2


@dataclass
class Family:
    """The processes of one gateway."""

    house: House
    gateway: GatewayProcess
    http: httpx.Client

    @property
    def parent(self) -> psutil.Process:
        return psutil.Process(self.gateway.pid)

    def children(self, role: str) -> list[psutil.Process]:
        """The processes of a role that live, the oldest first."""
        return self.gateway.children(role)

    def leader(self) -> psutil.Process:
        """The process of the controller in office."""
        lease = wait_until("somebody to lead", self.house.registry.leadership.current)
        return psutil.Process(int(lease.holder.split("-")[-2]))

    def wait_worker_ids(self, count: int) -> set[str]:
        """The ids of the workers that the registry knows, once there are so many."""
        workers = self.house.registry.workers
        return wait_until(
            f"{count} workers", lambda: ids if len(ids := {one.id for one in workers.live()}) >= count else None
        )

    def serves(self, model: str) -> bool:
        return self.ask(model).status_code == 200

    def ask(self, model: str, **body: object) -> httpx.Response:
        """One chat request on a connection of its own, so that any worker may get it."""
        request = {"model": model, "messages": MESSAGES, "max_tokens": 4, **body}
        headers = {"Authorization": f"Bearer {self.house.keys['acme']}"}
        return self.http.post(f"{self.gateway.url}{CHAT}", json=request, headers=headers)


@contextmanager
def family(house: House, mocks: list[MockEngine], *names: str, **settings: Any) -> Iterator[Family]:
    """A gateway with two workers, both known to the registry, and these adapters served."""
    settings = {"engine_check_s": 0.2, "catalog_poll_s": 0.1, **settings}
    urls = [mock.url for mock in mocks]
    with (
        httpx.Client(timeout=DEADLINE_S, limits=httpx.Limits(max_keepalive_connections=0)) as http,
        gateway_process(house.settings.state_dir, urls, workers=WORKERS, **settings) as gateway,
    ):
        one = Family(house, gateway, http)
        one.wait_worker_ids(WORKERS)
        for name in names:
            wait_until(f"{name} to be served", partial(one.serves, name))
        yield one


@dataclass
class Traffic:
    """Requests one after the other from a few threads; `outcomes` counts (status, model) or the error of each."""

    family: Family
    models: tuple[str, ...]
    outcomes: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    def failures(self) -> dict[str, int]:
        """Everything that was no answer of the right model."""
        wanted = {f"200 {model}" for model in self.models}
        return {outcome: number for outcome, number in self.outcomes.items() if outcome not in wanted}

    def _work(self, model: str) -> None:
        while not self._stop.is_set():
            try:
                answer = self.family.ask(model)
                outcome = f"{answer.status_code} {answer.json().get('model', answer.text)}"
            except httpx.HTTPError as error:
                outcome = repr(error)
            self.outcomes[outcome] += 1
            self._stop.wait(BETWEEN_REQUESTS_S)


@contextmanager
def traffic(one: Family, *models: str) -> Iterator[Traffic]:
    """Traffic on these models (public names of versions) inside the block."""
    running = Traffic(one, models)
    threads = [threading.Thread(target=running._work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        running._stop.set()
        for thread in threads:
            thread.join()
