"""A whole installation on real sockets: registry in a folder, mock engines, and the gateway under uvicorn."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn
from fastapi.routing import APIRoute
from sqlalchemy import select

from gateway.admin_key import admin_key
from gateway.app import Gateway
from gateway.fleet.controller import Controller
from gateway.fleet.worker import FleetWorker
from gateway.serving.server import server_config
from gateway.settings import GatewaySettings
from loadtest.folders import write_adapter, write_proof
from loadtest.mock_engine.options import Faults, Options
from loadtest.ports import free_port
from loadtest.testing import MockEngine
from registry.adapters.version_rows import VersionInfo
from registry.ledger.rows import USAGE
from registry.names import PRODUCTION, SYSTEM, parse_ref
from registry.service import Registry
from registry.swaps.following import follow
from registry.swaps.infos import DONE, FINAL_STATES, SwapInfo
from registry.tenants.store import USUAL_SCOPES
from tests.support.adapter_folders import TinyBase
from tests.support.migrated import migrated
from tests.support.waiting import DEADLINE_S, wait_until

T = TypeVar("T")
BASE = "tiny"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MESSAGES: list[Any] = [{"role": "user", "content": "My parcel is late."}]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own, wherever we are."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def proof(*, seed: int = 1, probes: int = 2, effect: float = 1.5) -> dict[str, Any]:
    """An effect proof as the trainer writes it; the mock engine answers its probes with these very numbers."""
    return {
        "noise": 0.01,
        "probes": [
            {
                "token_ids": [3 + seed, 5, 7, 11 + number],
                "positions": [1, 3],
                "base_logprobs": [-2.0, -3.0],
                "adapter_logprobs": [-2.0 + effect, -3.0 - effect],
            }
            for number in range(probes)
        ],
    }


@dataclass
class House:
    """A registry with a base model, and what is needed to fill it. Adapters written by it are all different."""

    folder: Path
    registry: Registry
    settings: GatewaySettings
    keys: dict[str, str] = field(default_factory=dict)
    _seed: int = 0

    @property
    def base_folder(self) -> Path:
        return self.folder / "base"

    def tenant(self, name: str, *, allow_unknown_fields: bool = False) -> None:
        self.registry.tenants.create(name, allow_unknown_fields=allow_unknown_fields)
        self.keys[name] = self.key(name)

    def key(self, tenant: str, *scopes: str) -> str:
        """The secret of a new key; its scopes are the usual ones unless told otherwise."""
        return self.registry.tenants.create_key(tenant, scopes=scopes or USUAL_SCOPES).secret

    def publish(self, name: str, proof: Mapping[str, Any] | None = None, **options: Any) -> VersionInfo:
        """Publish the next version of `tenant/adapter`; `options` go to `write_adapter`."""
        self._seed += 1
        source = write_adapter(
            self.folder / "sources" / str(self._seed), TinyBase().config, **{"seed": self._seed, **options}
        )
        if proof is not None:
            write_proof(source, proof)
        tenant, _, adapter = name.partition("/")
        return self.registry.adapters.publish(
            tenant=tenant, adapter=adapter, folder=source, base=BASE, lineage={"source": "test"}
        ).version

    def point(self, name: str, version: str, alias: str = "production") -> None:
        """Set an alias without a gateway's help."""
        swap = self.registry.swaps.request(parse_ref(f"{name}@{version}"), alias=alias, actor="test")
        self.registry.swaps.flip(swap.id)
        self.registry.swaps.advance(swap.id, DONE)

    def promote(self, name: str, version: str, alias: str = "production") -> SwapInfo:
        """Ask the gateway to move an alias; return when it has, or has failed to."""
        return self.finished(self.registry.swaps.request(parse_ref(f"{name}@{version}"), alias=alias, actor="test").id)

    def split(self, name: str, weights: Mapping[str, int], alias: str = PRODUCTION) -> SwapInfo:
        """Split an alias's traffic, by a running gateway or without one; return when that has succeeded."""
        ref = parse_ref(name)
        return self._followed(self.registry.swaps.request_ramp(ref, weights, alias=alias, actor="test"))

    def end_split(self, name: str, alias: str = PRODUCTION) -> SwapInfo:
        """End the split in the same way."""
        return self._followed(self.registry.swaps.request_ramp_end(parse_ref(name), alias=alias, actor="test"))

    def _followed(self, swap: SwapInfo) -> SwapInfo:
        swap = follow(self.registry, swap, DEADLINE_S)
        assert swap.state == DONE, swap.detail
        return swap

    def finished(self, swap_id: int) -> SwapInfo:
        """The swap at its end."""

        def final() -> SwapInfo | None:
            swap = self.registry.swaps.get(swap_id)
            return swap if swap.state in FINAL_STATES else None

        return wait_until(f"swap {swap_id} to end", final)

    def usage(self, **fields: Any) -> list[dict[str, Any]]:
        """Tenants' usage rows in the ledger whose fields have these values, newest first."""
        row = USAGE.c
        query = select(USAGE).where(row.tenant != SYSTEM, *(row[name] == value for name, value in fields.items()))
        with self.registry.db.read() as session:
            found = session.execute(query.order_by(row.started_at_ms.desc(), row.attempt_id)).mappings()
            return [dict(one) for one in found]

    def usage_of(self, request_id: str) -> list[dict[str, Any]]:
        """The rows of one request once they are shipped, by attempt."""
        rows = wait_until(f"usage of {request_id}", lambda: self.usage(request_id=request_id))
        return sorted(rows, key=lambda row: str(row["attempt_id"]))


@contextmanager
def open_house(folder: Path, **settings: Any) -> Iterator[House]:
    """A registry with the tiny base model in a new folder."""
    configured = GatewaySettings(
        **{
            "state_dir": migrated(folder / "var"),
            "engine_platform": "cpu",
            "catalog_poll_s": 0.05,
            "engine_check_s": 0.1,
            "engines": [],
            "port": free_port(),
            "request_log": "off",
            **settings,
        }
    )
    with Registry.open(configured) as registry:
        registry.bases.register(BASE, TinyBase().write(folder / "base"))
        yield House(folder, registry, configured)


@contextmanager
def served(gateway: Gateway) -> Iterator[str]:
    """The gateway under uvicorn in a thread; the value is its URL."""
    settings = gateway.settings
    config = server_config(gateway, settings.host, settings.port, grace_s=2, keep_alive_s=settings.keep_alive_s)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="gateway", daemon=True)
    thread.start()
    try:
        wait_until("the gateway to start", lambda: server.started or not thread.is_alive())
        assert server.started, "the gateway ended while it started"
        yield f"http://{settings.host}:{settings.port}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the gateway does not stop"


@dataclass
class Stack:
    """A house with engines and a running gateway."""

    house: House
    engines: list[MockEngine]
    gateway: Gateway
    url: str
    http: httpx.Client
    """For everything that goes to the gateway or to an engine: a client of one's own costs more than its request."""

    @property
    def engine(self) -> MockEngine:
        """The only one, or the first."""
        return self.engines[0]

    def faults(self, **patch: Any) -> None:
        """Change faults of every engine that runs."""
        for engine in self.engines:
            if engine.running:
                self.http.post(f"{engine.url}/mock/faults", json=patch).raise_for_status()

    def heal(self) -> None:
        """No faults any more, and every engine in the routes again."""
        self.faults(**Faults().as_dict())
        self.wait_ready()

    def state(self) -> dict[str, Any]:
        """The first engine's counters."""
        return self.state_of(self.engine)

    def state_of(self, engine: MockEngine) -> dict[str, Any]:
        """An engine's counters."""
        state: dict[str, Any] = self.http.get(f"{engine.url}/mock/state").raise_for_status().json()
        return state

    def asked(self) -> int:
        """Requests of clients that all engines have got, answered or not; proofs of adapters come when they will."""
        return sum(self.state_of(engine)["identified"] for engine in self.engines if engine.running)

    def routes(self) -> list[APIRoute]:
        """All that FastAPI serves; those of the admin API are made when they are first asked for."""
        self.http.get(f"{self.url}/openapi.json", headers=self.operator, timeout=DEADLINE_S).raise_for_status()
        return [route for route in self.gateway.web.routes if isinstance(route, APIRoute)]

    @property
    def operator(self) -> dict[str, str]:
        """The head of a request of the operator."""
        return {"Authorization": f"Bearer {admin_key(self.house.settings)}"}

    def readiness(self) -> dict[str, Any]:
        document: dict[str, Any] = self.http.get(f"{self.url}/readyz", headers=self.operator).json()
        return document

    def wait_ready(self) -> None:
        """Every engine takes traffic."""
        wait_until("all engines to be ready", lambda: set(self.readiness()["engines"].values()) == {"ok"})

    def wait_state(self, engine: MockEngine, state: str) -> None:
        """The gateway's worker knows the engine in this state."""
        wait_until(f"{engine.url} to be {state}", lambda: self.worker.states().get(engine.url, ("",))[0] == state)

    @property
    def controller(self) -> Controller:
        """The fleet's controller, to look at."""
        assert self.gateway.candidate is not None
        candidate = self.gateway.candidate
        return wait_until("the gateway to lead", lambda: candidate.controller)

    @property
    def worker(self) -> FleetWorker:
        """The gateway's mirror of the fleet, to look at."""
        assert self.gateway.worker is not None
        return self.gateway.worker

    def restart_engine(self, number: int = 0) -> None:
        """A new boot of an engine at its address, noticed by the gateway."""
        managed = self.controller.engines[number]
        before = managed.residency.boot
        run(self.engines[number].restart())
        wait_until("the new boot to be noticed", lambda: managed.residency.boot not in (None, before))
        self.wait_ready()

    def wait_resident(self, *names: str) -> None:
        """These versions are in the routes, each on one engine at least."""
        wanted = {self.house.registry.adapters.get(parse_ref(name)).id for name in names}
        wait_until(
            f"{names} to be resident",
            lambda: wanted <= {version for engine in self.worker.view().engines for version in engine.resident},
        )

    def wait_revision(self) -> None:
        """The gateway has seen every change of the catalog."""
        newest = self.house.registry.db.catalog_revision()
        house = self.gateway.house
        assert house is not None
        wait_until("the newest catalog", lambda: house.catalog.current.revision >= newest)

    def post(
        self, path: str, body: Mapping[str, Any] | bytes, key: str = "acme", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One plain HTTP request; `key` is a tenant whose key is meant, or a secret."""
        secret = self.house.keys.get(key, key)
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return self.http.post(
            f"{self.url}{path}",
            headers={"Authorization": f"Bearer {secret}", "Content-Type": "application/json", **(headers or {})},
            **content,
        )

    def chat(self, model: str, key: str = "acme", headers: Mapping[str, str] | None = None, **body: Any) -> Any:
        """A short chat answer, or the error, as plain HTTP."""
        whole = {"model": model, "messages": MESSAGES, "max_tokens": 4, **body}
        return self.post(CHAT, whole, key, headers)


@contextmanager
def locked(house: House) -> Iterator[None]:
    """Somebody else writes to the database for as long as the block runs."""
    with closing(sqlite3.connect(house.settings.state_dir / "registry.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def run_engines(house: House, *options: Mapping[str, Any]) -> Iterator[list[MockEngine]]:
    """Mock engines that serve the house's base model."""
    mocks = [MockEngine(Options(**{"model": str(house.base_folder), **chosen})) for chosen in options]
    try:
        for mock in mocks:
            run(mock.start())
        yield mocks
    finally:
        for mock in mocks:
            run(mock.stop())


@contextmanager
def run_gateway(house: House, mocks: list[MockEngine], **settings: Any) -> Iterator[Stack]:
    """A gateway over a filled house, in front of engines that run; with `waits=False` they need not take traffic."""
    waits = settings.pop("waits", True)
    house.settings = house.settings.model_copy(
        update={"engines": [mock.url for mock in mocks], "port": free_port(), **settings}
    )
    gateway = Gateway(house.settings)
    with (
        served(gateway) as url,
        httpx.Client(timeout=DEADLINE_S, limits=httpx.Limits(max_keepalive_connections=4)) as http,
    ):
        stack = Stack(house, mocks, gateway, url, http)
        if waits:
            stack.wait_ready()
        yield stack


@contextmanager
def run_stack(house: House, *, engines: Sequence[Mapping[str, Any]] = ({},), **settings: Any) -> Iterator[Stack]:
    """Engines and a gateway. `engines` are options of the mocks, `settings` of the gateway."""
    with run_engines(house, *engines) as mocks, run_gateway(house, mocks, **settings) as stack:
        yield stack
