"""Requests at their end, as metrics see them."""

from __future__ import annotations

from typing import Any

from gateway.api.dialects import DIALECTS
from gateway.api.request_ids import RequestIds
from gateway.api.respond import Respond
from gateway.handoffs import Arm, Principal, Usage


class Booked:
    """An attempt at its end."""

    engine_url, outcome, nano, began_s = "http://e1", "ok", 2_000, 0.0
    usage = Usage(7, 3, 5, "engine")


async def nowhere(_message: Any) -> None:
    """Nobody reads it."""


def ended(status: int = 200, *, tenant: str = "acme", name: str = "acme/triage@1.0", **known: Any) -> Respond:
    respond = Respond(nowhere, DIALECTS["chat"], began_s=0, ids=RequestIds([]))
    respond.status = status
    respond.principal = Principal(tenant, "k", frozenset(), False)
    respond.arm = Arm(name, "sha256:0")
    for field, value in known.items():
        setattr(respond, field, value)
    return respond
