"""A process's tracing, as its settings want it: none, or a tracer with an outbox behind it."""

from __future__ import annotations

from telemetry.outbox import Outbox
from telemetry.settings import TelemetrySettings
from telemetry.spans import Kind, Remote, Span, Tracer


class Tracing:
    """A tracer, and what has become of its spans."""

    def __init__(self, tracer: Tracer, outbox: Outbox) -> None:
        self._tracer = tracer
        self.outbox = outbox

    def begin(self, name: str, kind: Kind = "internal", within: Remote | None = None) -> Span | None:
        """As `telemetry.spans.Tracer` does it."""
        return self._tracer.begin(name, kind, within)

    def close(self) -> None:
        """Tell what waits, in a few seconds at most."""
        self.outbox.close()


def tracing_of(settings: TelemetrySettings, service: str, instance: str) -> Tracing | None:
    """`None` where nothing is traced: then nothing of OpenTelemetry is imported. `service` and `instance` are what a
    collector calls the process, unless OTEL_SERVICE_NAME is set.
    """
    if not settings.otel:
        return None
    from telemetry import otlp

    tell, close = otlp.telling(otlp.otlp_exporter(), service, instance)
    outbox = Outbox(tell, close, most_waiting=settings.otel_max_waiting)
    return Tracing(Tracer(settings.otel_share, outbox.take), outbox)
