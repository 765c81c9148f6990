"""Spans are made cheaply, told by a thread to a real collector, and lost, counted, when that is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from functools import partial

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import ValidationError

from gateway.settings import GatewaySettings
from telemetry import otlp, outbox
from telemetry.outbox import MOST_AT_ONCE, Outbox
from telemetry.settings import TelemetrySettings
from telemetry.spans import LOW_BITS, Ended, Remote, Tracer, part_of, whole
from telemetry.tracing import tracing_of
from tests.support.collector import Collector, attributes_of, collector
from tests.support.waiting import wait_until

CLIENT = Remote(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, sampled=True)


@pytest.fixture
def ended() -> list[Ended]:
    return []


@pytest.fixture
def tracer(ended: list[Ended]) -> Tracer:
    return Tracer(1.0, ended.append)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "EVERY_S", 0.02)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


def test_a_span_stands_in_its_clients_and_has_its_parts_in_itself(tracer: Tracer, ended: list[Ended]) -> None:
    span = tracer.begin("POST", "server", CLIENT)
    assert span is not None
    with span.child("chat", "client") as inner:
        inner.set(tenant="acme", nothing=None)
    span.end("engine_failed")
    span.end()
    part, all_of_it = ended
    assert (all_of_it.trace_id, all_of_it.parent_id, all_of_it.parent_is_remote) == (CLIENT[0], CLIENT[1], True)
    assert (part.trace_id, part.parent_id, part.parent_is_remote) == (CLIENT[0], all_of_it.span_id, False)
    assert part.attributes == {"switchyard.tenant": "acme"}
    assert all_of_it.began_ns <= part.began_ns <= part.ended_ns <= all_of_it.ended_ns
    assert (all_of_it.error, part.error) == ("engine_failed", None)
    assert span.header_line == b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-%016x-01\r\n" % span.span_id


def test_a_block_that_fails_is_told_by_the_exceptions_name_and_not_its_words(
    tracer: Tracer, ended: list[Ended]
) -> None:
    with pytest.raises(ValueError, match="a secret"), whole(tracer, "swap") as span, part_of(span, "preload"):
        raise ValueError("a secret")
    assert [(one.name, one.error) for one in ended] == [("preload", "ValueError"), ("swap", "ValueError")]


def test_nothing_is_begun_where_nothing_is_traced() -> None:
    with whole(None, "swap") as span, part_of(span, "preload") as part:
        assert span is None
        assert part is None


def test_the_share_is_decided_by_the_traces_id_and_a_client_can_only_say_no(ended: list[Ended]) -> None:
    half = Tracer(0.5, ended.append)
    low, high = CLIENT._replace(trace_id=1), CLIENT._replace(trace_id=LOW_BITS)
    assert half.begin("a", "server", low) is not None
    assert half.begin("a", "server", high) is None
    assert half.begin("a", "server", low._replace(sampled=False)) is None
    assert Tracer(0, ended.append).begin("a") is None
    assert all(Tracer(1, ended.append).begin("a", "server", high) for _ in range(3))


def test_spans_are_the_sdks_own_when_they_are_exported(tracer: Tracer, ended: list[Ended]) -> None:
    exporter = InMemorySpanExporter()
    tell, _ = otlp.telling(exporter, "gateway", "7")
    span = tracer.begin("POST", "server", CLIENT)
    assert span is not None
    span.set(model="a\ud800b" + "c" * 1000, tokens=3)
    span.end("engine_failed")
    assert tell(ended)
    (made,) = exporter.get_finished_spans()
    assert made.context is not None
    assert made.parent is not None
    assert (made.context.trace_id, made.parent.span_id, made.parent.is_remote) == (CLIENT[0], CLIENT[1], True)
    assert (made.kind, made.status.status_code) == (SpanKind.SERVER, StatusCode.ERROR)
    assert made.attributes is not None
    assert made.attributes["error.type"] == "engine_failed"
    assert made.attributes["switchyard.tokens"] == 3
    assert str(made.attributes["switchyard.model"]).startswith("a?bccc")
    assert len(str(made.attributes["switchyard.model"])) == 256
    assert made.resource.attributes["service.name"] == "gateway"
    assert made.resource.attributes["service.instance.id"] == "7"


def test_a_collector_gets_them_over_http(receiver: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ops")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    tracing = tracing_of(TelemetrySettings(otel=True), "gateway", "7")
    assert tracing is not None
    with whole(tracing, "swap acme/triage@production") as span, part_of(span, "preload"):
        pass
    tracing.close()
    assert [one.name for one in receiver.spans] == ["preload", "swap acme/triage@production"]
    assert receiver.spans[0].parent_span_id == receiver.spans[1].span_id
    assert receiver.spans[0].end_time_unix_nano >= receiver.spans[0].start_time_unix_nano
    assert attributes_of(receiver.spans[1]) == {}
    assert receiver.resources[0]["service.name"] == "mine"
    assert receiver.heads[0]["x-tenant"] == "ops"
    assert tracing.outbox.told == 2


def test_a_collector_that_hangs_holds_nobody_up_and_what_finds_no_room_is_counted(
    receiver: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
    receiver.goes_on.clear()
    tracing = tracing_of(TelemetrySettings(otel=True, otel_max_waiting=10), "gateway", "7")
    assert tracing is not None
    began_s = time.monotonic()
    for _ in range(2_000):
        with whole(tracing, "a request"):
            pass
    assert time.monotonic() - began_s < 5, "2,000 spans waited for a collector"
    assert tracing.outbox.dropped > 0
    wait_until("the collector to be given up", lambda: tracing.outbox.refused > 0)
    receiver.goes_on.set()

    def told() -> bool:
        with whole(tracing, "another"):
            return tracing.outbox.told > 0

    wait_until("spans to be told again", told)
    tracing.close()
    lost = [record for record in caplog.records if "spans were lost" in record.message]
    assert len(lost) == 1, "it is said once a minute"
    assert lost[0].levelno == logging.WARNING


class Broken(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise RuntimeError("broken")


def test_an_exporter_that_breaks_ends_neither_the_thread_nor_the_process(
    caplog: pytest.LogCaptureFixture, tracer: Tracer
) -> None:
    tell, close = otlp.telling(Broken(), "gateway", "7")
    box = Outbox(tell, close, most_waiting=MOST_AT_ONCE)
    spans = Tracer(1.0, box.take)

    def counted(count: int) -> bool:
        return box.refused == count

    for count in (1, 2):
        with whole(spans, "a request"):
            pass
        wait_until("it to be counted", partial(counted, count))
    box.close()
    assert "RuntimeError: broken" in caplog.text


def test_without_the_packages_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("telemetry.settings.find_spec", missing)
    with pytest.raises(ValidationError, match=r"pip install 'switchyard\[otel\]'"):
        GatewaySettings(otel=True)
    assert GatewaySettings(otel=False).otel is False


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc', and only http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "OTEL_EXPORTER_OTLP_ENDPOINT is no URL of a collector"),
    ],
)
def test_a_collector_that_cannot_be_spoken_to_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=said):
        GatewaySettings(otel=True)
