"""One attempt at a request, on one engine: meter ⊃ load ⊃ forward."""

from __future__ import annotations

from typing import Any, Protocol

from gateway.desk import Desk
from gateway.fleet.line import Seat
from gateway.fleet.view import EngineView
from gateway.handoffs import Admitted, Sink, Usage
from gateway.journal.journal import Journal
from gateway.responses.archive import Archive
from gateway.settings import GatewaySettings
from gateway.steps.forward import Forward
from gateway.steps.keep import keep
from gateway.steps.load import Fleet, Load
from gateway.steps.meter import Meter
from gateway.tracing.attempts import AttemptSpan


class Means(Protocol):
    """What an attempt needs of the running gateway."""

    @property
    def fleet(self) -> Fleet:
        """Brings adapters to engines."""

    @property
    def journal(self) -> Journal:
        """What is used is written there."""

    @property
    def settings(self) -> GatewaySettings:
        """How long to wait."""

    @property
    def desk(self) -> Desk:
        """Where what takes long about large bodies is done."""

    @property
    def archive(self) -> Archive:
        """Where answers are kept, for requests that want it."""


async def attempt(
    admitted: Admitted, engine: EngineView, number: int, sink: Sink, means: Means, seat: Seat | None = None
) -> Usage:
    """Feed the sink an engine's whole answer; what that used, which is on record then.

    `number` is the attempt's own among those of the request; `seat` is the request's there, `None` for a copy, which
    goes when anybody waits. Raises what `Meter`, `Load` and `Forward` raise; what was
    used is on record then too.
    """
    meter = Meter(means.journal, admitted, engine.declared, number)
    span = admitted.call.span
    if span is None:
        await _answer(admitted, engine, meter, sink, means, seat)
    else:
        with AttemptSpan(span, admitted, meter, number) as traced:
            await _answer(traced, engine, meter, sink, means, seat)
    return meter.usage


async def _answer(
    admitted: Admitted, engine: EngineView, meter: Meter, sink: Sink, means: Means, seat: Seat | None
) -> None:
    settings, is_copy = means.settings, admitted.shadow
    with meter as count:
        sink.begin(meter)
        async with (
            Load(
                means.fleet,
                engine.url,
                admitted.arm,
                wait_s=settings.cold_wait_s,
                is_copy=is_copy,
                span=admitted.call.span,
                seat=seat,
            ) as engine_name,
            Forward(admitted, engine, engine_name, count, settings) as answer,
        ):
            sink.read_by(answer.reader)
            await answer.relay(sink.feed, sink.feed_now)
        if (keeping := admitted.request.keeping) is not None and keeping.store and not is_copy:
            reader: Any = answer.reader  # a `KeptAnswer`, as the request has a `Keeping`
            await keep(means.archive, means.desk, admitted, keeping, reader.answered())
        if rest := answer.reader.rest():
            await sink.feed(rest)
