"""The one place that knows OpenTelemetry's SDK: spans of ours as its own, and its exporter of OTLP over HTTP.

Imported by processes that trace, and no others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from telemetry.outbox import Tell
from telemetry.spans import MOST_CHARACTERS, Ended, Value

KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
SCOPE = InstrumentationScope("switchyard")
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
ERROR_TYPE = "error.type"


def otlp_exporter() -> SpanExporter:
    """To where the standard variables say, OTEL_EXPORTER_OTLP_*. What it logs of each batch that fails is left to who
    counts them.
    """
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    return OTLPSpanExporter()


def telling(exporter: SpanExporter, service: str, instance: str) -> tuple[Tell, Callable[[], None]]:
    """What an outbox tells by, and closes. The service's name and more come from OTEL_SERVICE_NAME and
    OTEL_RESOURCE_ATTRIBUTES, if they are set.
    """
    ours = Resource.create({"service.name": service, "service.instance.id": instance})
    resource = ours.merge(OTELResourceDetector().detect())

    def tell(spans: Sequence[Ended]) -> bool:
        made = [_readable(span, resource) for span in spans]
        return exporter.export(made) is SpanExportResult.SUCCESS

    return tell, exporter.shutdown


def _readable(span: Ended, resource: Resource) -> ReadableSpan:
    parent = None
    if span.parent_id:
        parent = SpanContext(span.trace_id, span.parent_id, span.parent_is_remote, SAMPLED)
    attributes = {name: _bounded(value) for name, value in span.attributes.items()}
    if span.error is not None:
        attributes[ERROR_TYPE] = _bounded(span.error)
    return ReadableSpan(
        name=str(_bounded(span.name)),
        context=SpanContext(span.trace_id, span.span_id, False, SAMPLED),
        parent=parent,
        resource=resource,
        attributes=attributes,
        kind=KINDS[span.kind],
        status=Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR),
        start_time=span.began_ns,
        end_time=span.ended_ns,
        instrumentation_scope=SCOPE,
    )


def _bounded(value: Value) -> Value:
    """No longer than it may be, and UTF-8: one that is not would take its whole batch with it."""
    return value[:MOST_CHARACTERS].encode(errors="replace").decode() if isinstance(value, str) else value
