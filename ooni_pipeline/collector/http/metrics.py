"""What the service counts for Prometheus: nothing that tells of a country, network, address or nettest.

The only module that knows prometheus_client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one service, in a registry of its own.

    ``counts`` are what the Reception has counted, ``now`` what can be measured, each by its name; both are
    asked when somebody looks.
    """

    def __init__(
        self, counts: Callable[[], Mapping[str, int]], now: Callable[[], Mapping[str, float]]
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=False)
        self._counts = counts
        self._now = now
        self._requests = Counter(
            "ooni_collector_requests",
            "Requests by route and status.",
            ("route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "ooni_collector_request_seconds",
            "From the head of a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Asked(self._gathered))
        ProcessCollector(registry=self._registry)

    def request(self, route: str, status: str, seconds: float) -> None:
        """Count one: ``route`` is the template, never the path; ``status`` its three digits, or ``gone``."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def page(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return generate_latest(self._registry)

    def _gathered(self) -> Iterable[Metric]:
        for name, count in self._counts().items():
            yield CounterMetricFamily(f"ooni_collector_{name}", f"{name} since the start.", value=count)
        for name, value in self._now().items():
            yield GaugeMetricFamily(f"ooni_collector_{name}", f"{name} now.", value=value)


class _Asked:
    """What prometheus_client takes for a collector."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self.collect = collect
