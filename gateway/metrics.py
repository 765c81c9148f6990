"""What Prometheus sees. Labels are bounded: endpoint, status, engine; never tenants or adapters."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector

from gateway.handoffs import Usage

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """One set of metrics for one gateway, in a registry of its own."""

    def __init__(self, endpoints: Iterable[str]) -> None:
        """`endpoints` are the names of the dialects that are served."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "switchyard_requests", "Requests by endpoint and answer.", ("endpoint", "status"), registry=self.registry
        )
        self._refusals = Counter(
            "switchyard_refusals",
            "Requests that were refused before an engine was asked, by the limit or else the error's code.",
            ("reason",),
            registry=self.registry,
        )
        self._first_byte = Histogram(
            "switchyard_first_byte_seconds",
            "From request to first byte.",
            ("endpoint",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._tokens = Counter(
            "switchyard_tokens", "Tokens by kind, as engines report them.", ("kind",), registry=self.registry
        )
        self._background_restarts = Counter(
            "switchyard_background_restarts",
            "How often a work of the process ended with an error and was begun again.",
            ("work",),
            registry=self.registry,
        )
        self.in_flight = self._gauge("switchyard_in_flight_requests", "Requests in flight.")
        self.engine_up = self._gauge("switchyard_engine_up", "1 when the engine takes traffic.", ("engine",))
        self.engine_refused = self._gauge(
            "switchyard_engine_refused", "1 when the engine works and must not serve: /readyz says why.", ("engine",)
        )
        self.resident = self._gauge("switchyard_resident_adapters", "Adapters that an engine holds.", ("engine",))
        self.catalog_revision = self._gauge("switchyard_catalog_revision", "Catalog revision in force.")
        self.background_up = self._gauge(
            "switchyard_background_up",
            "1 when this work of the process goes on; 0 when it ended with an error and has only just begun again.",
            ("work",),
        )
        self.largest_unit_share = self._gauge(
            "switchyard_split_largest_unit_share",
            "Of the split with the most uneven traffic: the share, 0 to 1, of its requests that are one derived unit.",
        )
        # Children are looked up once: `labels()` would cost more than the increment.
        self._prompt_tokens = self._tokens.labels("prompt")
        self._cached_tokens = self._tokens.labels("cached")
        self._completion_tokens = self._tokens.labels("completion")
        self._refusal_children: dict[str, Counter] = {}
        self._request_children: dict[tuple[str, int], Counter] = {}
        self._first_byte_children = {name: self._first_byte.labels(name) for name in endpoints}

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def answered(self, endpoint: str, status: int) -> None:
        """Count one request by the status that its client saw (499: the client was gone)."""
        child = self._request_children.get((endpoint, status))
        if child is None:
            child = self._request_children[endpoint, status] = self._requests.labels(endpoint, str(status))
        child.inc()

    def refused(self, reason: str) -> None:
        """Count one request that was refused before an engine was asked."""
        child = self._refusal_children.get(reason)
        if child is None:
            child = self._refusal_children[reason] = self._refusals.labels(reason)
        child.inc()

    def restarted(self, work: str) -> None:
        """Count one end of a work in the background."""
        self._background_restarts.labels(work).inc()

    def first_byte(self, endpoint: str, seconds: float) -> None:
        """Record the time to the first byte of an answer."""
        self._first_byte_children[endpoint].observe(seconds)

    def count_tokens(self, usage: Usage) -> None:
        """Count the tokens of one attempt."""
        self._prompt_tokens.inc(usage.prompt_tokens or 0)
        self._cached_tokens.inc(usage.cached_tokens or 0)
        self._completion_tokens.inc(usage.completion_tokens or 0)

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)
