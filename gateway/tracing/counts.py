"""What has become of spans, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry.outbox import Outbox


class SpanCounts(Collector):
    """Read when somebody asks."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def collect(self) -> Iterator[Metric]:
        """As they are now."""
        family = CounterMetricFamily(
            "switchyard_spans",
            "Spans that have ended: `told` to the collector, `dropped` because too many waited, `refused` when it was "
            "away or did not take them.",
            labels=("became",),
        )
        for became in ("told", "dropped", "refused"):
            family.add_metric([became], getattr(self._outbox, became))
        yield family
