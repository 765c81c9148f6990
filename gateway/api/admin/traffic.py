"""`GET /admin/v1/traffic`: what came lately, how it ended and how long it took, over all workers of this gateway."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from gateway.api.admin.office import Office
from gateway.api.admin.shapes import Shape
from gateway.errors import Overloaded
from gateway.metrics.counts import By
from gateway.metrics.rings import COARSE_S, DAY_S, FINE_S, HOUR_S
from registry.errors import InvalidInput

RETRY_AFTER_S = 1


class WholeDocument(Shape):
    """The window as a whole."""

    requests: int = Field(description="Requests that ended.")
    outcomes: dict[str, int] = Field(
        description="Of them, so many of each: ok, client_aborted (the client left), limited (429), refused (other "
        "4xx), unavailable (503), failed (other 5xx), broken_off (a stream that ended with an error)."
    )
    prompt_tokens: int = Field(description="Read by engines for them, in tokens.")
    cached_tokens: int = Field(description="Of these, those that came from prefix caches.")
    completion_tokens: int = Field(description="Made by engines for them, in tokens.")
    cost_dollars: str = Field(description="Charged for them at the tariff; a decimal number in text.")
    ttft_p50_ms: float | None = Field(
        description="Median time to the first byte of streamed answers, in milliseconds, from a histogram; null: there "
        "were none."
    )
    ttft_p95_ms: float | None = Field(description="Likewise, what 95 of 100 stay below.")
    inter_token_p50_ms: float | None = Field(
        description="Median of the mean times between two tokens of a streamed answer, in milliseconds."
    )
    inter_token_p95_ms: float | None = Field(description="Likewise, what 95 of 100 stay below.")


class LineDocument(Shape):
    """One line of a chart: lists have a value for each of `at_ms`. Rates are means over a step."""

    name: str = Field(description="all, or the endpoint, the engine's URL, the tenant, or the adapter.")
    whole: WholeDocument
    requests_per_s: list[float] = Field(description="Requests that ended, a second.")
    errors_per_s: dict[str, list[float]] = Field(
        description="Of them, those that did not end well, by the outcomes that there were."
    )
    prompt_tokens_per_s: list[float] = Field(description="Tokens a second that were read.")
    completion_tokens_per_s: list[float] = Field(description="Tokens a second that were made.")
    ttft_p50_ms: list[float | None] = Field(description="As of the whole; null where nothing was streamed.")
    ttft_p95_ms: list[float | None] = Field(description="Likewise.")
    inter_token_p50_ms: list[float | None] = Field(description="Likewise.")
    inter_token_p95_ms: list[float | None] = Field(description="Likewise.")


class TrafficDocument(Shape):
    """Since the leader's term began at most: nothing of it is stored."""

    gateway: str = Field(description="host:port of the gateway whose workers are added up.")
    workers: int = Field(description="Of them, those that were heard of in the last 10 s.")
    since_ms: int = Field(
        description="When counting began, in milliseconds since the epoch: a new leader begins anew. Nothing is known "
        "of the time before."
    )
    until_ms: int = Field(
        description="Now, in milliseconds since the epoch. A step that began in the last 4 s is in `whole` and not yet "
        "in lists: workers tell of what they count every 2 s."
    )
    window_s: int = Field(description="The last so many seconds are shown.")
    step_s: int = Field(description="Seconds of a step.")
    by: By = Field(description="What a line stands for.")
    tenants: list[str] = Field(
        description="Those that are counted by name (metrics_tenants, and metrics_top_tenants with the most requests); "
        "all others are `_other`."
    )
    adapters: list[str] = Field(description="Likewise, adapters and base models.")
    at_ms: list[int] = Field(description="When each step begins, in milliseconds since the epoch.")
    in_flight: list[float] = Field(description="Requests that had not ended, mean of looks every 2 s.")
    queued: list[float] = Field(
        description="Requests in the queues of all engines of the fleet, as they say themselves, mean of looks; of "
        "anybody."
    )
    loads: list[int] = Field(description="Adapters that were loaded and proven, on all engines of the fleet.")
    failed_loads: list[int] = Field(description="Loads that failed, likewise.")
    evictions: list[int] = Field(description="Adapters that engines had to give up to have room for others, likewise.")
    lines: list[LineDocument] = Field(description="Those with the most requests first, at most 50.")


def add_traffic(router: APIRouter, office: Office) -> None:
    """The route."""

    @router.get("/traffic")
    async def show_traffic(
        window_s: Annotated[int, Query(ge=FINE_S, le=DAY_S, description="So many seconds back.")] = HOUR_S,
        step_s: Annotated[
            int | None,
            Query(description="Seconds of a step: a multiple of 10, of 300 with a window of more than an hour."),
        ] = None,
        by: Annotated[By, Query(description="What a line stands for.")] = "all",
        tenant: Annotated[str | None, Query(description="Only this tenant's.")] = None,
        adapter: Annotated[str | None, Query(description="Only this adapter's, or base model's.")] = None,
    ) -> TrafficDocument:
        """Requests, errors, latencies, what runs and waits, and loads, of the last minutes or hours."""
        step = _checked_step(step_s, window_s)
        by, only = _what(by, tenant, adapter)
        document = await office.house.telling.traffic(window_s, step, by, only)
        if document is None:
            raise Overloaded(
                "No controller leads the fleet now, and it is who adds up the traffic. A successor takes over within "
                "seconds, and begins anew.",
                code="controller_away",
                retry_after_s=RETRY_AFTER_S,
            )
        if not document["named"]:
            named = ", ".join(document[f"{by}s"]) or "nobody"
            raise InvalidInput(
                f"{by} is {only!r}, which is not counted by name now (of {by}s that is {named}); "
                f"put it into SWITCHYARD_METRICS_{by.upper()}S",
                param=by,
            )
        return TrafficDocument.model_validate(document)


def _checked_step(step_s: int | None, window_s: int) -> int:
    unit_s = FINE_S if window_s <= HOUR_S else COARSE_S
    step = unit_s if step_s is None else step_s
    if step <= 0 or step % unit_s:
        raise InvalidInput(
            f"step_s is {step_s}; with a window of {window_s} s it is a multiple of {unit_s}", param="step_s"
        )
    return step


def _what(by: By, tenant: str | None, adapter: str | None) -> tuple[By, str | None]:
    """Of what the lines are, and the only one if one is asked for. Raises `InvalidInput`."""
    if tenant is not None and adapter is not None:
        raise InvalidInput("adapter is given beside tenant; ask for one of them", param="adapter")
    for kind, only in (("tenant", tenant), ("adapter", adapter)):
        if only is not None:
            if by not in ("all", kind):
                raise InvalidInput(f"by is {by!r} beside {kind}={only[:80]!r}; leave one of them out", param="by")
            return ("tenant" if kind == "tenant" else "adapter"), only
    return by, None
