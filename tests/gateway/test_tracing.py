"""A request, its attempts, its wait for a load, and swaps are spans: one trace from the client to the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from telemetry import outbox
from tests.support.stack import CHAT, MESSAGES, Stack, open_house, run_stack
from tests.support.waiting import wait_until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
TURN = MESSAGES[0]["content"]


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, exporter: InMemorySpanExporter) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch, open_house(tmp_path_factory.mktemp("traced")) as house:
        patch.setattr("telemetry.otlp.otlp_exporter", lambda: exporter)
        patch.setattr(outbox, "EVERY_S", 0.02)
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house, engines=({}, {}), otel=True) as stack:
            stack.wait_resident("acme/triage@1.0")
            yield stack


@pytest.fixture
def stack(traced: Stack, exporter: InMemorySpanExporter) -> Iterator[Stack]:
    exporter.clear()
    yield traced
    traced.heal()


def of_trace(exporter: InMemorySpanExporter, trace: str, count: int) -> dict[str, ReadableSpan]:
    """The spans of a trace by name, when so many are there."""

    def found() -> list[ReadableSpan] | None:
        spans = [one for one in exporter.get_finished_spans() if one.context and one.context.trace_id == int(trace, 16)]
        return spans if len(spans) == count else None

    return {one.name: one for one in wait_until(f"{count} spans", found)}


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def fresh(number: int) -> tuple[str, str]:
    """A trace of a client's, and its header."""
    trace = f"{number:032x}"
    return trace, f"00-{trace}-{SPAN}-01"


@pytest.mark.parametrize("stream", [False, True])
def test_the_engine_stands_in_the_attempt_that_in_the_request_and_that_in_the_clients_span(
    stack: Stack, exporter: InMemorySpanExporter, stream: bool
) -> None:
    trace, parent = fresh(100 + stream)
    headers = {"traceparent": parent, "tracestate": "rojo=1", "x-request-id": "mine"}
    answer = stack.chat("triage", headers=headers, stream=stream, temperature=0.5)
    assert answer.status_code == 200
    spans = of_trace(exporter, trace, 2)
    request, attempt = spans[f"POST {CHAT}"], spans["chat acme/triage@1.0"]
    assert request.parent is not None
    assert (f"{request.parent.span_id:016x}", request.parent.is_remote) == (SPAN, True)
    assert attempt.parent is not None
    assert request.context is not None
    assert attempt.context is not None
    assert attempt.parent.span_id == request.context.span_id
    asked = [stack.state_of(engine)["trace"] for engine in stack.engines]
    assert [f"00-{trace}-{attempt.context.span_id:016x}-01", "rojo=1"] in asked
    assert (request.kind, attempt.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    of_request = told(request)
    assert of_request["http.response.status_code"] == 200
    assert of_request["switchyard.request_id"] == answer.headers["x-request-id"]
    assert of_request["switchyard.client_request_id"] == "mine"
    assert (of_request["switchyard.tenant"], of_request["switchyard.adapter"]) == ("acme", "acme/triage")
    assert (of_request["switchyard.version"], of_request["switchyard.model"]) == ("1.0", "triage")
    of_attempt = told(attempt)
    assert of_attempt["gen_ai.operation.name"] == "chat"
    assert of_attempt["gen_ai.request.model"] == of_attempt["gen_ai.response.model"] == "acme/triage@1.0"
    assert (of_attempt["gen_ai.request.temperature"], of_attempt["gen_ai.request.max_tokens"]) == (0.5, 4)
    assert of_attempt["gen_ai.usage.output_tokens"] == 4
    assert of_attempt["gen_ai.usage.input_tokens"] > 0
    assert ("gen_ai.response.time_to_first_chunk" in of_attempt) == stream
    assert f"http://{of_attempt['server.address']}:{of_attempt['server.port']}" in [one.url for one in stack.engines]


def test_attributes_of_generative_ai_have_the_conventions_names(stack: Stack, exporter: InMemorySpanExporter) -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

    trace, parent = fresh(200)
    sampling: dict[str, Any] = {
        "top_p": 0.9,
        "top_k": 4,
        "seed": 1,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.1,
        "n": 2,
    }
    assert stack.chat("triage", headers={"traceparent": parent}, stop=["a canary"], **sampling).status_code == 200
    attempt = told(of_trace(exporter, trace, 2)["chat acme/triage@1.0"])
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    named = {name for name in attempt if name.startswith("gen_ai.")}
    assert named <= known
    assert {f"gen_ai.request.{name}" for name in sampling if name != "n"} | {"gen_ai.request.choice.count"} <= named
    assert "a canary" not in str(attempt)


def test_each_attempt_is_a_span_of_its_own(stack: Stack, exporter: InMemorySpanExporter) -> None:
    trace, parent = fresh(300)
    stack.faults(refuse_requests=503)
    assert stack.chat("triage", headers={"traceparent": parent}).status_code == 503

    def found() -> list[ReadableSpan] | None:
        spans = [one for one in exporter.get_finished_spans() if one.context and one.context.trace_id == int(trace, 16)]
        return spans if any(one.kind is SpanKind.SERVER for one in spans) else None

    spans = wait_until("the request's span", found)
    tried = [one for one in spans if one.kind is SpanKind.CLIENT]
    assert len(tried) == 2, "an engine each"
    assert {told(one)["error.type"] for one in tried} == {"EngineUnreachable"}
    assert sorted(told(one)["switchyard.attempt"] for one in tried) == [0, 1]
    assert len({told(one)["server.port"] for one in tried}) == 2
    (request,) = [one for one in spans if one.kind is SpanKind.SERVER]
    assert (request.status.status_code, told(request)["error.type"]) == (StatusCode.ERROR, "engine_unavailable")


def test_a_request_that_waits_for_a_load_says_how_long_and_the_load_is_a_span_of_the_controllers(
    stack: Stack, exporter: InMemorySpanExporter
) -> None:
    stack.house.publish("acme/triage")
    stack.wait_revision()
    trace, parent = fresh(400)
    assert stack.chat("acme/triage@1.1", headers={"traceparent": parent}).status_code == 200
    spans = of_trace(exporter, trace, 4)
    attempt = spans["chat acme/triage@1.1"]
    assert attempt.context is not None
    for wait in (spans["wait for load acme/triage@1.1"], spans["wait for proof acme/triage@1.1"]):
        assert wait.parent is not None
        assert wait.parent.span_id == attempt.context.span_id
    load = wait_until(
        "the load", lambda: next((o for o in exporter.get_finished_spans() if o.name == "load acme/triage@1.1"), None)
    )
    assert load.parent is None
    assert told(load)["switchyard.engine"] in [engine.url for engine in stack.engines]


def test_a_swap_is_a_span_with_its_phases(stack: Stack, exporter: InMemorySpanExporter) -> None:
    stack.house.publish("acme/other")
    assert stack.house.promote("acme/other", "1.0").state == "done"
    swap = wait_until(
        "the swap's span",
        lambda: next((o for o in exporter.get_finished_spans() if o.name == "swap acme/other@production"), None),
    )
    assert swap.context is not None
    phases = [
        one.name
        for one in exporter.get_finished_spans()
        if one.parent is not None and swap.context is not None and one.parent.span_id == swap.context.span_id
    ]
    assert phases == ["preload", "flip", "acknowledge", "drain"]
    assert told(swap)["switchyard.alias"] == "production"


def test_what_a_client_does_not_trace_is_passed_on_as_it_came(stack: Stack, exporter: InMemorySpanExporter) -> None:
    parent = f"00-{TRACE}-{SPAN}-00"
    assert stack.chat("triage", headers={"traceparent": parent}).status_code == 200
    assert [parent, None] in [stack.state_of(engine)["trace"] for engine in stack.engines]
    trace, other = fresh(500)
    assert stack.chat("triage", headers={"traceparent": other}).status_code == 200
    of_trace(exporter, trace, 2)
    assert not [one for one in exporter.get_finished_spans() if one.context and one.context.trace_id == int(TRACE, 16)]


def test_a_request_without_a_trace_begins_one(stack: Stack, exporter: InMemorySpanExporter) -> None:
    answer = stack.chat("no-such-model")
    assert answer.status_code == 404

    def refused() -> ReadableSpan | None:
        ids = answer.headers["x-request-id"]
        return next((o for o in exporter.get_finished_spans() if told(o).get("switchyard.request_id") == ids), None)

    span = wait_until("the span", refused)
    assert span.parent is None
    assert (told(span)["switchyard.error"], span.status.status_code) == ("model_not_found", StatusCode.UNSET)


def test_other_routes_are_spans_by_their_route_and_probes_are_none(
    stack: Stack, exporter: InMemorySpanExporter
) -> None:
    key = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    for path in ("/healthz", "/readyz", "/metrics"):
        stack.http.get(f"{stack.url}{path}", headers=key)
    trace, parent = fresh(600)
    stack.http.get(f"{stack.url}/v1/files/file-none", headers={**key, "traceparent": parent})
    (name,) = of_trace(exporter, trace, 1)
    assert name == "GET /v1/files/{file_id}"
    assert not [one for one in exporter.get_finished_spans() if "healthz" in one.name or "readyz" in one.name]


def test_no_prompt_answer_or_key_is_in_any_span(stack: Stack, exporter: InMemorySpanExporter) -> None:
    trace, parent = fresh(700)
    answer = stack.chat("triage", headers={"traceparent": parent, "x-api-key": stack.house.keys["acme"]})
    words = answer.json()["choices"][0]["message"]["content"]
    of_trace(exporter, trace, 2)
    everything = json.dumps([one.to_json() for one in exporter.get_finished_spans()])
    assert TURN not in everything
    assert words not in everything
    assert stack.house.keys["acme"] not in everything
