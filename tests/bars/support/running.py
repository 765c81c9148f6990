"""One mock engine and one gateway, each a process of its own, with two tenants of two versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import gateway_process
from tests.support.stack import House, open_house


@dataclass(frozen=True, slots=True)
class Running:
    """The installation."""

    house: House
    engine_url: str
    engine_pid: int
    url: str
    gateway_pid: int
    environment: Mapping[str, str]


@contextmanager
def running(folder: Path, *mock_options: str) -> Iterator[Running]:
    """Two tenants with two versions of an adapter each, behind a gateway process, in front of a mock engine process."""
    with open_house(folder) as house, engine_processes(folder, 1, *mock_options) as (engine,):
        for tenant, adapter in (("acme", "acme/triage"), ("globex", "globex/sentiment")):
            house.tenant(tenant)
            house.publish(adapter)
            house.publish(adapter)
            house.point(adapter, "1.0")
        with gateway_process(house.settings.state_dir, [engine.url]) as gateway:
            yield Running(house, engine.url, engine.pid, gateway.url, gateway.pid, gateway.environment)
