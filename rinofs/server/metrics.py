"""Metrics for Prometheus: requests, bodies, commits, storage failures.

Counting takes about a microsecond per request; the rest happens in a thread of its own, at each scrape.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from rinofs.server.blobs.cached import READS
from rinofs.server.errors import FAILURES
from rinofs.server.runner import PortBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from rinofs.server.exchanges import Exchange, Observed
    from rinofs.server.services import Services

__all__ = ["ServerMetrics", "serve_metrics"]

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histogram's buckets in seconds."""

UNKNOWN = "unknown"
"""Label for paths that do not exist and for unknown methods: clients can make up any number of them."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_LABELS = ("route", "method", "status")


@dataclass(slots=True)
class _Tally:
    """Totals of the requests with the same labels."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    received: int = 0
    sent: int = 0


class ServerMetrics(Collector):
    """Collects the metrics of a server for Prometheus.

    Parameters
    ----------
    observed : Observed
        The application.
    services : Services
        Its services.
    """

    def __init__(self, observed: Observed, services: Services) -> None:
        self._under_way = observed.under_way
        self._services = services
        self._tallies: dict[tuple[str, str, str], _Tally] = {}
        observed.note_routes()
        observed.observers.append(self.count)

    def count(self, exchange: Exchange) -> None:
        """Count a request that has ended. Only the thread of the event loop may call this."""
        method = exchange.method
        labels = (
            exchange.route or UNKNOWN,
            method if method in _METHODS else UNKNOWN,
            str(exchange.status or "none"),
        )
        tally = self._tallies.get(labels)
        if tally is None:
            tally = self._tallies[labels] = _Tally()
        tally.counts[bisect_left(BOUNDS, exchange.seconds)] += 1
        tally.seconds += exchange.seconds
        tally.received += exchange.received
        tally.sent += exchange.sent

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield from self._of_requests()
        under_way = self._under_way
        yield GaugeMetricFamily(
            "rinofs_http_requests_under_way", "Requests that are being answered.", under_way.requests
        )
        yield GaugeMetricFamily(
            "rinofs_http_bodies_under_way", "Bodies of requests that are being received.", under_way.bodies
        )
        yield CounterMetricFamily(
            "rinofs_commits",
            "Commits of the database; one may be for several requests.",
            self._services.database.commits,
        )
        failures = CounterMetricFamily(
            "rinofs_storage_failures",
            "Failures of the database and of the storage of contents: busy, failed or full.",
            labels=("part", "reason"),
        )
        for labels, count in sorted(FAILURES.items()):
            failures.add_metric(labels, count)
        yield failures
        reads = CounterMetricFamily(
            "rinofs_cache_reads", "Reads of contents in an object store: copies, or not.", labels=("result",)
        )
        for result, count in sorted(READS.items()):
            reads.add_metric((result,), count)
        yield reads

    def _of_requests(self) -> Iterator[Metric]:
        durations = HistogramMetricFamily(
            "rinofs_http_request_duration_seconds",
            "Requests that were answered.",
            labels=_LABELS,
        )
        received = CounterMetricFamily(
            "rinofs_http_received_bytes", "Bytes of the bodies of requests.", labels=_LABELS
        )
        sent = CounterMetricFamily(
            "rinofs_http_sent_bytes", "Bytes of the bodies of answers.", labels=_LABELS
        )
        for labels, tally in list(self._tallies.items()):
            total, buckets = 0, []
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), list(tally.counts), strict=True):
                total += count
                buckets.append((bound, total))
            durations.add_metric(labels, buckets, tally.seconds)
            received.add_metric(labels, tally.received)
            sent.add_metric(labels, tally.sent)
        yield from (durations, received, sent)


def serve_metrics(metrics: ServerMetrics, host: str, port: int) -> str:
    """Serve metrics to Prometheus in a thread until the process ends, and return the URL.

    Parameters
    ----------
    metrics : ServerMetrics
        The metrics to serve, besides the CPU time, memory and files of the process.
    host : str
        The address to listen on.
    port : int
        The port; 0 for a free one.

    Raises
    ------
    PortBusyError
        If the server cannot listen on the address.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(metrics)
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise PortBusyError(f"cannot listen on {host} port {port} for metrics: {reason}") from error
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{server.server_port}/metrics"
