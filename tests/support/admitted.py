"""A request in progress, and one exchange of it with an engine, without a gateway around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.api.dialects import DIALECTS
from gateway.bytes_in_flight import HeldBytes
from gateway.engines.connection import EngineClient
from gateway.engines.engine import Engine, EngineStatus
from gateway.fleet.view import EngineView
from gateway.handoffs import Admitted, Arm, Call, EngineCount, InferenceRequest, Principal, Target, Usage
from gateway.steps.forward import Forward
from registry.catalog.snapshot import TariffEntry

NAME, PUBLIC = "a-0123456789abcdef-7", "acme/triage@1.0"


@dataclass(frozen=True)
class Patience:
    """Seconds, and bytes of an answer in one piece."""

    head_timeout_s: float = 5.0
    answer_timeout_s: float = 5.0
    idle_timeout_s: float = 5.0
    max_answer_bytes: int = 1 << 26
    engine_token_bytes: int = 2_048


@dataclass(frozen=True)
class Priced:
    """A bill that holds nothing and knows a price."""

    price: TariffEntry | None = None
    held_prompt: int = 0
    most_prompt: int = 0

    def within(self, usage: Usage) -> Usage:
        return usage

    def now_ms(self) -> int:
        return 0

    def cost(self, usage: Usage, outcome: str) -> int | None:
        return None

    def charge(self, usage: Usage, outcome: str, started_at_ms: int) -> int | None:
        return None


async def nothing(_held: HeldBytes) -> bytes:
    return b""


def admitted(request: InferenceRequest, *, public_name: str = PUBLIC, price: TariffEntry | None = None) -> Admitted:
    """A request of acme's, on its way to a model of this name."""
    return Admitted(
        Call(request.dialect, None, None, nothing, "r1", "r1"),
        Principal("acme", "k", frozenset({"inference"}), allow_unknown_fields=False),
        request,
        Target(request.model, None, None, None, None, None),
        Arm(public_name, "sha256:0"),
        Priced(price),
    )


def forward_to(
    client: EngineClient,
    body: dict[str, Any],
    count: EngineCount,
    *,
    endpoint: str = "chat",
    engine_name: str = NAME,
    public_name: str = PUBLIC,
    price: TariffEntry | None = None,
    patience: Patience | None = None,
    **fields: Any,
) -> Forward:
    """The step of a checked body; `fields` are of its `InferenceRequest`."""
    stream = bool(body.get("stream")) and not fields.get("assembled")
    known = {"shows_usage": "never", "max_output_tokens": None, **fields}
    request = InferenceRequest(dialect=DIALECTS[endpoint], model="triage", stream=stream, body=body, **known)
    engine = EngineView(Engine("http://engine", "sha256:0", "cpu", 16), EngineStatus("up", None, None), {}, client)
    asked = admitted(request, public_name=public_name, price=price)
    return Forward(asked, engine, engine_name, count, patience or Patience())
