"""`/admin/v1/swaps`: promotes, rollbacks and ramps of splits, asked for and followed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gateway.api.admin.etags import IfMatch, expected_by
from gateway.api.admin.office import Office, in_json, whole_adapter
from gateway.api.admin.shapes import PRINTABLE, Actor, Order, Reason, Shape
from registry.names import PRODUCTION, parse_ref
from registry.swaps.report import report_swap

MAX_ID = 2**63 - 1
"""No database numbers its rows higher."""


class ArmDocument(Shape):
    """A version and its part of an alias's traffic."""

    version: str = Field(description="tenant/adapter@1.1.")
    version_id: int = Field(description="The registry's number of it.")
    weight: int = Field(description="In 1/10,000 of the traffic.")


class SwapDocument(Shape):
    """One promote, rollback or ramp."""

    id: int = Field(description="GET /admin/v1/swaps/{id} follows it.")
    kind: Literal["move", "ramp"] = Field(
        description="move: the alias points elsewhere. ramp: it stays; its split begins, changes its weights or ends."
    )
    adapter: str = Field(description="tenant/adapter.")
    alias: str = Field(description="The alias whose traffic goes elsewhere.")
    to_version: str = Field(description="What the alias points at afterwards, tenant/adapter@1.1.")
    arms: list[ArmDocument] = Field(
        description="Where its traffic goes afterwards; one arm of weight 10,000 when it is not split."
    )
    state: str = Field(description="requested, preloading, verified, flipped, draining; at the end done or failed.")
    detail: dict[str, Any] = Field(
        description="What each step has found: `from`, `engines`, `flipped_at_ms`, `revision`, `split`, `error`, more."
    )
    requested_at_ms: int = Field(description="Milliseconds since the epoch.")
    finished_at_ms: int | None = Field(description="Milliseconds since the epoch; null while it is in progress.")


class SwapsDocument(Shape):
    """Swaps, newest first."""

    swaps: list[SwapDocument]


class TrafficDocument(Shape):
    """One version's part of the traffic around a swap."""

    version: str = Field(description="tenant/adapter@1.0.")
    attempts: int = Field(description="Requests on engines that began.")
    failed: int = Field(description="Of them, those that an engine or the gateway failed.")
    first_ms: int = Field(description="Start of the first, in milliseconds since the epoch.")
    last_ms: int = Field(description="Start of the last, in milliseconds since the epoch.")


class SecondDocument(Shape):
    """Requests on one version that began within one second."""

    second_ms: int = Field(description="The second's beginning, in milliseconds since the epoch.")
    served_model: str = Field(description="The version.")
    attempts: int = Field(description="Requests on engines that began in it.")
    failed: int = Field(description="Of them, those that an engine or the gateway failed.")
    first_ms: int = Field(description="Start of the first, in milliseconds since the epoch.")
    last_ms: int = Field(description="Start of the last, in milliseconds since the epoch.")


class AcknowledgementDocument(Shape):
    """A worker had the moved alias or the new split in force."""

    worker: str = Field(description="host-pid.")
    at_ms: int = Field(description="When, in milliseconds since the epoch.")
    after_flip_s: float = Field(description="Seconds after the flip.")


class SkewDocument(Shape):
    """One unit is more than 5 % of a split's traffic."""

    split_id: int = Field(description="The split.")
    source: str = Field(description="Where it came from, as `unit_source` of usage rows has it.")
    requests: int = Field(description="The last requests of the split that the worker with the worst figure has seen.")
    of_one_unit: int = Field(description="Of them, those of the unit.")


class SwapReportDocument(Shape):
    """A swap, how long its steps took, and what it did to traffic (usage is a second or two behind)."""

    swap: SwapDocument
    since_ms: int = Field(description="Beginning of the traffic that is counted, in milliseconds since the epoch.")
    until_ms: int = Field(description="End of the traffic that is counted, in milliseconds since the epoch.")
    versions: list[TrafficDocument]
    per_second: list[SecondDocument]
    late_on_old: int | None = Field(
        description="Requests by the alias on the old version that began after the cut-over: 0, or null for a ramp."
    )
    acknowledged: list[AcknowledgementDocument] = Field(
        description="Every worker, the first first; the last is the cut-over."
    )
    not_acknowledged_by: list[str] = Field(description="Workers that did not say in time that they have it.")
    preload_s: float | None = Field(description="Seconds of loading and proving on every home.")
    cutover_s: float | None = Field(description="Seconds from the flip to the last acknowledgement.")
    drain_s: float | None = Field(description="Seconds of waiting for requests on the old version; null for a ramp.")
    skew: SkewDocument | None = Field(description="Set when one unit is too much of the traffic of the ramp's split.")
    left_on_old: int | None = Field(
        description="Requests still on the old version when the wait was given up; null when a worker has not said."
    )


Override = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=1000,
        pattern=PRINTABLE,
        description="Why it may pass the alias's gate without a certificate; kept in the list of actions.",
    ),
]


class PromoteOrder(Order):
    """Make a version current."""

    version: str = Field(description="tenant/adapter@1.1, or another alias of the adapter, tenant/adapter@canary.")
    alias: str = Field(PRODUCTION, description="The alias to move.")
    reason: Reason = ""
    actor: Actor
    allow_indistinguishable: bool = Field(
        False, description="Take a version whose proven effect is lost in the noise; the swap records it."
    )
    override: Override = None


class AliasOrder(Order):
    """An alias, and who wants something of it."""

    adapter: str = Field(description="tenant/adapter.")
    alias: str = Field(PRODUCTION, description="The alias whose traffic is meant.")
    reason: Reason = ""
    actor: Actor


class RampOrder(AliasOrder):
    """Split an alias's traffic, or change the weights of its split."""

    weights: dict[str, int] = Field(
        description="Version → part of the traffic in 1/10,000; they sum to 10,000.",
        examples=[{"1.0": 9000, "1.1": 1000}],
    )
    override: Override = None


def add_swaps(router: APIRouter, office: Office) -> None:
    """The routes."""
    _add_moves(router, office)
    _add_ramps(router, office)


def _add_moves(router: APIRouter, office: Office) -> None:
    swaps = office.registry.swaps

    @router.get("/swaps")
    def list_swaps(
        limit: Annotated[int, Query(ge=1, le=500, description="How many, newest first.")] = 20,
        adapter: Annotated[str | None, Query(description="Only those of this tenant/adapter.")] = None,
    ) -> SwapsDocument:
        """The newest swaps."""
        found = swaps.recent(limit, whole_adapter(adapter, "adapter") if adapter else None)
        return SwapsDocument(swaps=[SwapDocument.model_validate(swap) for swap in found])

    @router.get("/swaps/{swap_id}", response_model=SwapReportDocument)
    def show_swap(swap_id: Annotated[int, Path(ge=1, le=MAX_ID)]) -> Response:
        """One swap with its report, as far as it has come."""
        return in_json(SwapReportDocument.model_validate(report_swap(office.registry.db, swap_id)))

    @router.post("/swaps", status_code=202)
    async def promote(order: PromoteOrder, if_match: IfMatch = None) -> SwapDocument:
        """Ask for an alias to move; the controller loads and proves the version first, and no request is dropped.

        If-Match takes the alias's etag, `GET /admin/v1/adapters/{tenant}/{adapter}/aliases`; `none`: it is not there.
        """
        ref = parse_ref(order.version)
        swap = await run_in_threadpool(
            swaps.request,
            ref,
            alias=order.alias,
            actor=order.actor,
            reason=order.reason,
            allow_indistinguishable=order.allow_indistinguishable,
            override=order.override,
            expected=expected_by(if_match),
        )
        office.worker.wake()
        return SwapDocument.model_validate(swap)

    @router.post("/swaps/rollback", status_code=202)
    async def roll_back(order: AliasOrder, if_match: IfMatch = None) -> SwapDocument:
        """Ask for an alias's split to end, else for it to go back by a version; If-Match as for a promote."""
        ref = whole_adapter(order.adapter, "adapter")
        swap = await run_in_threadpool(
            swaps.request_rollback,
            ref,
            alias=order.alias,
            actor=order.actor,
            reason=order.reason,
            expected=expected_by(if_match),
        )
        office.worker.wake()
        return SwapDocument.model_validate(swap)


def _add_ramps(router: APIRouter, office: Office) -> None:
    swaps = office.registry.swaps

    @router.post("/swaps/ramp", status_code=202)
    async def ramp(order: RampOrder) -> SwapDocument:
        """Ask for an alias's traffic to be split; the controller loads and proves every arm first."""
        ref = whole_adapter(order.adapter, "adapter")
        swap = await run_in_threadpool(
            swaps.request_ramp,
            ref,
            order.weights,
            alias=order.alias,
            actor=order.actor,
            reason=order.reason,
            override=order.override,
        )
        office.worker.wake()
        return SwapDocument.model_validate(swap)

    @router.post("/swaps/ramp/end", status_code=202)
    async def end_ramp(order: AliasOrder) -> SwapDocument:
        """Ask for the split of an alias to end: all of its traffic to the version that it points at."""
        ref = whole_adapter(order.adapter, "adapter")
        swap = await run_in_threadpool(
            swaps.request_ramp_end, ref, alias=order.alias, actor=order.actor, reason=order.reason
        )
        office.worker.wake()
        return SwapDocument.model_validate(swap)
