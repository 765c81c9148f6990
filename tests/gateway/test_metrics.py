"""What Prometheus reads is what prometheus_client's own counters would say, which are not asked for each request."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from gateway.handoffs import Usage
from gateway.metrics.worker import SECONDS, Metrics, Tally, Times
from tests.support.ended_requests import ended


def timeless(text: bytes) -> bytes:
    """Without the moments at which counters began."""
    return re.sub(rb"(_created\S*) [0-9.e+]+", rb"\1", text)


def test_a_tally_reads_as_a_counter() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("requests", "By answer.", ("endpoint", "status"), ours)
    counter = Counter("requests", "By answer.", ("endpoint", "status"), registry=theirs)
    assert timeless(generate_latest(ours)) == timeless(generate_latest(theirs))
    for endpoint, status, count in (("chat", 200, 1), ("chat", 429, 3), ("score", 200, 0), ("chat", 200, 5)):
        tally.add((endpoint, status), count)
        counter.labels(endpoint, str(status)).inc(count)
        assert timeless(generate_latest(ours)) == timeless(generate_latest(theirs))


def test_times_read_as_a_histogram() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    times = Times("first_byte_seconds", "Seconds.", "endpoint", ("chat", "score"), SECONDS, ours)
    histogram = Histogram("first_byte_seconds", "Seconds.", ("endpoint",), buckets=SECONDS, registry=theirs)
    for endpoint in ("chat", "score"):
        histogram.labels(endpoint)
    assert timeless(generate_latest(ours)) == timeless(generate_latest(theirs))
    for endpoint, seconds in (("chat", 0.0), ("chat", 0.005), ("score", 0.0051), ("chat", 120.0), ("chat", 121.5)):
        times.add(endpoint, seconds)
        histogram.labels(endpoint).observe(seconds)
        assert timeless(generate_latest(ours)) == timeless(generate_latest(theirs))


def lines(metrics: Metrics, names: Sequence[str]) -> set[str]:
    return {line for line in metrics.exposition().decode().splitlines() if line.startswith(tuple(names))}


def test_a_request_is_in_flight_until_it_is_answered_and_counted_then() -> None:
    metrics = Metrics(["chat"])
    names = ("switchyard_in_flight_requests ", "switchyard_requests_total", "switchyard_tokens_total")
    tokens = {f'switchyard_tokens_total{{kind="{kind}"}} 0.0' for kind in ("prompt", "cached", "completion")}
    metrics.came()
    assert lines(metrics, names) == {"switchyard_in_flight_requests 1.0", *tokens}
    metrics.answered("chat", ended(200, first_byte_s=0.3), 0.5)
    metrics.came()
    metrics.answered("chat", ended(499), 0.5)
    metrics.count_tokens(Usage(7, None, 2))
    assert lines(metrics, (*names, "switchyard_first_byte_seconds_count")) == {
        "switchyard_in_flight_requests 0.0",
        'switchyard_requests_total{endpoint="chat",status="200"} 1.0',
        'switchyard_requests_total{endpoint="chat",status="499"} 1.0',
        'switchyard_first_byte_seconds_count{endpoint="chat"} 1.0',
        'switchyard_tokens_total{kind="prompt"} 7.0',
        'switchyard_tokens_total{kind="cached"} 0.0',
        'switchyard_tokens_total{kind="completion"} 2.0',
    }
