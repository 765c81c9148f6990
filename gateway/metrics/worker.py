"""What a worker counts. Labels are bounded: endpoint, status, engine; never tenants or adapters."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gateway.api.respond import Respond
from gateway.handoffs import Endpoint, Usage
from gateway.metrics.rows import Rows

PROMPT, CACHED, COMPLETION = ("prompt",), ("cached",), ("completion",)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Tally(Collector):
    """A counter of plain numbers, which are looked at when somebody asks: a request makes half a dozen of them, and
    prometheus_client's own take a lock for each. For one thread, but asked for by any.
    """

    def __init__(self, name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._counts: dict[tuple[object, ...], int] = {}
        self._began_s: dict[tuple[object, ...], float] = {}
        registry.register(self)

    def add(self, labels: tuple[object, ...], count: int = 1) -> None:
        """Count some more under these values of its labels."""
        try:
            self._counts[labels] += count
        except KeyError:
            self._began_s[labels] = time.time()
            self._counts[labels] = count

    def collect(self) -> Iterator[Metric]:
        """As they are now."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in list(self._counts.items()):
            family.add_metric([str(one) for one in labels], count, created=self._began_s[labels])
        yield family


class Times(Collector):
    """A histogram of seconds by one label, likewise of plain numbers."""

    def __init__(
        self,
        name: str,
        text: str,
        label: str,
        values: Iterable[str],
        buckets: tuple[float, ...],
        registry: CollectorRegistry,
    ) -> None:
        """`buckets` are the most seconds of each but the last, which has no bound."""
        self._name, self._text, self._label, self._buckets = name, text, label, buckets
        self._counts = {value: [0] * (len(buckets) + 1) for value in values}
        self._sums_s = dict.fromkeys(self._counts, 0.0)
        self._began_s = time.time()
        registry.register(self)

    def add(self, value: str, seconds: float) -> None:
        """Count one."""
        self._counts[value][bisect_left(self._buckets, seconds)] += 1
        self._sums_s[value] += seconds

    def collect(self) -> Iterator[Metric]:
        """As they are now."""
        family = HistogramMetricFamily(self._name, self._text, labels=(self._label,))
        names = [*(str(float(one)) for one in self._buckets), "+Inf"]
        for value, counts in self._counts.items():
            up_to = accumulate(counts)
            family.add_metric((value,), list(zip(names, up_to, strict=True)), self._sums_s[value])
            family.add_sample(f"{self._name}_created", {self._label: value}, self._began_s)
        yield family


class Metrics:
    """One set of metrics for one gateway, in a registry of its own."""

    def __init__(self, endpoints: Iterable[str]) -> None:
        """`endpoints` are the names of the dialects that are served."""
        self.registry = CollectorRegistry()
        self.rows = Rows()
        """What the leader was not told of yet."""
        ProcessCollector(registry=self.registry)
        self._requests = self._tally("switchyard_requests", "Requests by endpoint and answer.", ("endpoint", "status"))
        self._refusals = self._tally(
            "switchyard_refusals",
            "Requests that were refused before an engine was asked, by the limit or else the error's code.",
            ("reason",),
        )
        self._first_byte = Times(
            "switchyard_first_byte_seconds",
            "From request to first byte.",
            "endpoint",
            endpoints,
            SECONDS,
            self.registry,
        )
        self._tokens = self._tally("switchyard_tokens", "Tokens by kind, as engines report them.", ("kind",))
        for kind in (PROMPT, CACHED, COMPLETION):
            self._tokens.add(kind, 0)
        self._copies = self._tally(
            "switchyard_shadow_copies",
            "Requests that were to be copied to a candidate: `paired`, or by the cause for which a side is missing.",
            ("result",),
        )
        self._background_restarts = self._tally(
            "switchyard_background_restarts",
            "How often a work of the process ended with an error and was begun again.",
            ("work",),
        )
        self._sampled = self._tally(
            "switchyard_sampled_answers", "Answers that were to be looked at, by what became of it.", ("became",)
        )
        self.in_flight = 0
        in_flight = self._gauge("switchyard_in_flight_requests", "Requests in flight.")
        in_flight.set_function(lambda: self.in_flight)
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

    def _tally(self, name: str, text: str, labels: tuple[str, ...]) -> Tally:
        return Tally(name, text, labels, self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def came(self) -> None:
        """A request is in flight, until it is `answered`."""
        self.in_flight += 1

    def answered(self, endpoint: Endpoint, ended: Respond, took_s: float) -> None:
        """Count one request, which has ended after so many seconds."""
        self.in_flight -= 1
        self.rows.add(endpoint, ended, took_s)
        self._requests.add((endpoint, ended.status))
        if ended.first_byte_s is not None:
            self._first_byte.add(endpoint, ended.first_byte_s)

    def refused(self, reason: str) -> None:
        """Count one request that was refused before an engine was asked."""
        self._refusals.add((reason,))

    def sampled(self, became: str) -> None:
        """Count one answer that was to be looked at."""
        self._sampled.add((became,))

    def copied(self, result: str) -> None:
        """Count one request that was to be copied to a candidate."""
        self._copies.add((result,))

    def restarted(self, work: str) -> None:
        """Count one end of a work in the background."""
        self._background_restarts.add((work,))

    def count_tokens(self, usage: Usage) -> None:
        """Count the tokens of one attempt."""
        self._tokens.add(PROMPT, usage.prompt_tokens or 0)
        self._tokens.add(CACHED, usage.cached_tokens or 0)
        self._tokens.add(COMPLETION, usage.completion_tokens or 0)

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)
