"""Swaps as callers see them, and the states that they go through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.splits.ranges import FULL_WEIGHT
from registry.swaps.rows import Swap
from registry.swaps.rules import name_of

REQUESTED, PRELOADING, VERIFIED, FLIPPED, DRAINING, DONE, FAILED = (
    "requested",
    "preloading",
    "verified",
    "flipped",
    "draining",
    "done",
    "failed",
)
FINAL_STATES = (DONE, FAILED)


@dataclass(frozen=True, slots=True)
class SwapArm:
    """A version and its part of the alias's traffic, in 1/10,000."""

    version: str
    """`tenant/adapter@1.1`; of `BASE_ARM`, `tenant/adapter@base`."""
    version_id: int
    weight: int

    @property
    def name(self) -> str:
        """`1.1`, or `base`."""
        return self.version.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class SwapInfo:
    """A swap as the controller executes it and the CLI shows it. `detail` grows with each state."""

    id: int
    kind: Literal["move", "ramp"]
    """A move points the alias elsewhere. A ramp leaves it where it is, and begins, changes or ends its split."""
    alias: str
    adapter: str
    to_version: str
    """What the alias points at afterwards."""
    to_version_id: int
    arms: tuple[SwapArm, ...]
    """Where the alias's traffic goes afterwards, in the order of versions; one of full weight when it is not split."""
    state: str
    detail: dict[str, Any]
    requested_at_ms: int
    finished_at_ms: int | None

    @property
    def goal(self) -> str:
        """Where the traffic goes, for people: a version, or the arms with their percents."""
        if self.kind == "move":
            return self.to_version
        return ", ".join(f"{arm.name} {arm.weight / 100:g} %" for arm in self.arms)


def swap_info(session: Session, row: Swap) -> SwapInfo:
    """The row of a swap as callers see it."""
    adapter = session.get_one(Adapter, row.adapter_id)
    to_version = name_of(session, adapter, row.to_version_id)
    arms: list[dict[str, Any]] | None = row.detail.get("arms")
    return SwapInfo(
        id=row.id,
        kind="move" if arms is None else "ramp",
        alias=row.alias,
        adapter=f"{adapter.tenant}/{adapter.name}",
        to_version=to_version,
        to_version_id=row.to_version_id,
        arms=(SwapArm(to_version, row.to_version_id, FULL_WEIGHT),)
        if arms is None
        else tuple(SwapArm(**arm) for arm in arms),
        state=row.state,
        detail={key: value for key, value in row.detail.items() if key != "arms"},
        requested_at_ms=row.requested_at_ms,
        finished_at_ms=row.finished_at_ms,
    )
