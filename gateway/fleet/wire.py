"""What the fleet's controller and the gateway's workers say to each other: one JSON object a frame of `Channel`.

Both ends are ours and of one version, so the messages are plain dataclasses; pydantic reads them, orjson writes them.

worker → controller     Hello, Report, Ensure, Lost, Disputed, Lied, Wake, Inspect, Borrow, Counted, AskTraffic,
                        AskSamples, and of `slot_messages.py`
controller → worker     Welcome, Engines, EngineChanged, Copies, Shares, Published, Ensured, CatalogMoved, Inspected,
                        Lent, Alive, and of `slot_messages.py`

Both ends speak at least every half second, so that one which was paused, or whose host is gone, is not waited for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from gateway.breaches import Breach
from gateway.engines.engine import Engine, EngineStatus
from gateway.fleet.channel import Channel, LinkBroken
from gateway.fleet.slot_messages import (
    ProofSlot,
    ProofSlotLeft,
    ProofSlotWanted,
    SlotsFromController,
    SlotsFromWorker,
)
from gateway.handoffs import Endpoint
from gateway.limits.lending import CapWish, Grants, RateWish
from gateway.metrics.counts import AskSamples, AskTraffic, Counted
from registry.errors import InvalidInput

MAX_UNIX_PATH = 100
SPEAK_EVERY_S = 0.5
SILENCE_S = 2.0
"""A link on which nothing came for so long is dead, whatever the kernel says of its socket."""

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker introduces itself. `trusted` are the names that it was told to route to: they passed their proof."""

    worker: str
    pid: int
    trusted: tuple[str, ...]
    rates: dict[int, float]
    """Requests a second by version id, of late: a new controller learns from it what is hot."""
    kind: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker has in flight now, having applied every change up to view revision `seen`."""

    seen: int
    in_flight: tuple[tuple[str, str, int], ...]
    """(engine URL, adapter name on it, requests)."""
    uses: tuple[tuple[str, int, int, float], ...]
    """(engine URL, version id, requests that began since the last report, seconds since the newest of them)."""
    last_bytes: dict[str, float]
    """Engine URL → seconds since it last sent this worker anything, for engines with requests in flight."""
    by_version: dict[int, int] = field(default_factory=dict)
    """Version id → requests that were given it, also those that wait for a limit or a load."""
    copies: tuple[tuple[str, str, int], ...] = ()
    """As `in_flight`, those of them that are copies of requests."""
    seats: dict[str, int] = field(default_factory=dict)
    """Engine URL → seats that it uses there."""
    waiting: dict[str, int] = field(default_factory=dict)
    """Digest of a base → seats of its engines that requests wait for: of each as many as it has answers."""
    standings: tuple[tuple[str, str, int, int, int], ...] = ()
    """(digest of a base, tenant, weight, running, waiting) of those that wait, as far as they are told of."""
    lately: tuple[tuple[str, str, int], ...] = ()
    """(digest of a base, tenant, weight) of those that have lately asked for something, as far as they are told of."""
    kind: Literal["report"] = "report"


@dataclass(frozen=True, slots=True)
class Ensure:
    """Please make a version resident on an engine; the answer is the `Ensured` of the same id."""

    id: int
    url: str
    version: int
    proven: bool
    """False: it only has to be there. A proof is a request, which runs when a slot is had for it."""
    kind: Literal["ensure"] = "ensure"


@dataclass(frozen=True, slots=True)
class Lost:
    """The engine said that it does not know a name."""

    url: str
    name: str
    kind: Literal["lost"] = "lost"


@dataclass(frozen=True, slots=True)
class Disputed:
    """The engine refused or failed a request, and we do not know why; `served_elsewhere` when another served it."""

    url: str
    endpoint: Endpoint
    tenant: str
    served_elsewhere: bool
    kind: Literal["disputed"] = "disputed"


@dataclass(frozen=True, slots=True)
class Lied:
    """The engine has answered a tenant's request as no engine does."""

    url: str
    breach: Breach
    tenant: str
    kind: Literal["lied"] = "lied"


@dataclass(frozen=True, slots=True)
class Wake:
    """A request could not reach an engine: look at it now."""

    kind: Literal["wake"] = "wake"


@dataclass(frozen=True, slots=True)
class Inspect:
    """Tell me all about the fleet; for people."""

    id: int
    kind: Literal["inspect"] = "inspect"


@dataclass(frozen=True, slots=True)
class Borrow:
    """What the worker uses of limits that it shares with others, and would like to have; `Lent` answers."""

    id: int
    writer: str
    caps: tuple[CapWish, ...]
    rates: tuple[RateWish, ...]
    kind: Literal["borrow"] = "borrow"


@dataclass(frozen=True, slots=True)
class Welcome:
    """The controller's first word. An engine is what it was until its first `EngineChanged`, which tells all of it."""

    token: int
    kind: Literal["welcome"] = "welcome"


@dataclass(frozen=True, slots=True)
class Engines:
    """Every engine that the controller manages, in order; others are forgotten."""

    engines: tuple[Engine, ...]
    kind: Literal["engines"] = "engines"


@dataclass(frozen=True, slots=True)
class EngineChanged:
    """An engine as it is now; `added` and `removed` change what is resident on it."""

    url: str
    status: EngineStatus
    added: tuple[tuple[int, str], ...]
    """(version id, name on the engine)."""
    removed: tuple[int, ...]
    kind: Literal["engine"] = "engine"


@dataclass(frozen=True, slots=True)
class Copies:
    """Version ids that have more than one home, and how many."""

    copies: dict[int, int]
    kind: Literal["copies"] = "copies"


@dataclass(frozen=True, slots=True)
class Shares:
    """How many seats this worker may use on each engine, by its URL."""

    most: dict[str, int]
    lately: dict[str, dict[str, int]] = field(default_factory=dict)
    """Digest of a base → tenant → weight, of those that have lately asked for something in any worker; empty where
    there is one worker.
    """
    kind: Literal["shares"] = "shares"


@dataclass(frozen=True, slots=True)
class Published:
    """The end of one set of changes; the worker applies the set at once and reports `revision`."""

    revision: int
    kind: Literal["published"] = "published"


@dataclass(frozen=True, slots=True)
class Ensured:
    """A load ended. `failure` is empty when the version is resident."""

    id: int
    failure: str
    permanent: bool
    tenants_own: bool = False
    kind: Literal["ensured"] = "ensured"


@dataclass(frozen=True, slots=True)
class CatalogMoved:
    """The catalog has a revision that workers should have in force; `revision` is at least it."""

    revision: int
    kind: Literal["catalog"] = "catalog"


@dataclass(frozen=True, slots=True)
class Inspected:
    """The answer to `Inspect`, `AskTraffic` or `AskSamples`: a document."""

    id: int
    document: dict[str, Any] = field(default_factory=dict)
    kind: Literal["inspected"] = "inspected"


@dataclass(frozen=True, slots=True)
class Lent:
    """The answer to the `Borrow` of the same id."""

    id: int
    grants: Grants
    kind: Literal["lent"] = "lent"


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing to say."""

    kind: Literal["alive"] = "alive"


FromWorker = (
    Hello
    | Report
    | Ensure
    | Lost
    | Disputed
    | Lied
    | Wake
    | Inspect
    | Borrow
    | Counted
    | AskTraffic
    | AskSamples
    | ProofSlot
    | SlotsFromWorker
)
FromController = (
    Welcome
    | Engines
    | EngineChanged
    | Copies
    | Shares
    | Published
    | Ensured
    | CatalogMoved
    | Inspected
    | Lent
    | Alive
    | ProofSlotWanted
    | ProofSlotLeft
    | SlotsFromController
)

_FROM_WORKER: TypeAdapter[FromWorker] = TypeAdapter(Annotated[FromWorker, Field(discriminator="kind")])
_FROM_CONTROLLER: TypeAdapter[FromController] = TypeAdapter(Annotated[FromController, Field(discriminator="kind")])


def encode(message: FromWorker | FromController) -> bytes:
    """As a frame has it."""
    return orjson.dumps(message, _in_json, orjson.OPT_NON_STR_KEYS)


def _in_json(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not sent over links")


async def read_from_worker(channel: Channel) -> FromWorker:
    """The next message of a worker. Raises `LinkBroken`."""
    return _decode(_FROM_WORKER, await channel.read(SILENCE_S))


async def read_from_controller(channel: Channel) -> FromController:
    """The next message of the controller. Raises `LinkBroken`."""
    return _decode(_FROM_CONTROLLER, await channel.read(SILENCE_S))


def _decode(adapter: TypeAdapter[Message], said: bytes) -> Message:
    try:
        return adapter.validate_json(said)
    except ValidationError as error:
        raise LinkBroken(f"not a message of this version: {error.errors()[0]['msg']}") from error


@dataclass(frozen=True, slots=True)
class Address:
    """Where a controller listens: `unix:/path`, or `tcp:host:port` for workers on other hosts."""

    family: Literal["unix", "tcp"]
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises `InvalidInput` for anything else."""
        family, _, rest = text.partition(":")
        if family == "unix" and rest.startswith("/") and len(rest) <= MAX_UNIX_PATH:
            return cls("unix", rest, 0)
        host, _, port = rest.rpartition(":")
        if family == "tcp" and host and port.isdecimal():
            return cls("tcp", host, int(port))
        raise InvalidInput(
            f"controller address is {text!r}; expected unix:/absolute/path (at most {MAX_UNIX_PATH} characters) "
            "or tcp:host:port",
            param="controller_listen",
        )

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.family == "unix" else f"tcp:{self.host}:{self.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A link to whoever listens there. Raises `OSError`, also when nobody answers in time."""
        async with asyncio.timeout(SILENCE_S):
            if self.family == "unix":
                return await asyncio.open_unix_connection(self.host)
            return await asyncio.open_connection(self.host, self.port)
