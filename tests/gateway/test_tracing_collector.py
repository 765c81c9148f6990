"""A gateway and a real collector: it gets the trace, and nobody misses it when it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from telemetry import outbox
from tests.support.collector import attributes_of, collector
from tests.support.stack import CHAT, open_house, run_stack
from tests.support.waiting import wait_until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_real_collector_gets_the_trace_and_when_it_dies_requests_are_served(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, open_house(tmp_path) as house, collector() as receiver:
        patch.setattr(outbox, "EVERY_S", 0.02)
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        patch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house, otel=True) as stack:
            assert stack.chat("triage", headers={"traceparent": PARENT}).status_code == 200
            request, attempt = receiver.named(f"POST {CHAT}"), receiver.named("chat acme/triage@1.0")
            assert request.trace_id.hex() == TRACE
            assert attempt.parent_span_id == request.span_id
            assert attributes_of(attempt)["gen_ai.usage.output_tokens"] == 4
            assert receiver.resources[0]["service.name"] == "switchyard-gateway"
            receiver.status = 500
            tracing = stack.gateway.house.tracing if stack.gateway.house else None
            assert tracing is not None
            for _ in range(5):
                assert stack.chat("triage").status_code == 200
            wait_until("lost spans to be counted", lambda: tracing.outbox.refused > 0)
            metrics = stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text
            assert 'switchyard_spans_total{became="refused"}' in metrics
