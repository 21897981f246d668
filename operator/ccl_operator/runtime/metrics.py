"""The operator's own metrics, on a registry of its own. Names carry the unit; labels are few and bounded.

What stands in the cache anyway (conditions of every object) is read at each scrape instead of being counted along: its
series go with the object.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ccl_operator.actions import Manifest

SECONDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Made once per process and passed to whoever counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconcile_seconds = Histogram(
            "ccl_operator_reconcile_seconds",
            "One pass over one CclDeployment.",
            ["outcome"],
            registry=self.registry,
            buckets=SECONDS,
        )
        self.interrupted = Gauge(
            "ccl_operator_interrupted_objects",
            "CclDeployments whose passes keep ending early because of the API server: five in a row, or for a minute.",
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "ccl_operator_queue_depth",
            "CclDeployments waiting for a worker; 0 in a standby.",
            registry=self.registry,
        )
        self.leader = Gauge(
            "ccl_operator_leader", "1 while this process holds the Lease and may write.", registry=self.registry
        )
        self.api_requests = Counter(
            "ccl_operator_api_requests",
            "Requests to the API server; code 0: no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.api_seconds = Histogram(
            "ccl_operator_api_seconds",
            "From sending a request to the head of its answer; without the wait for the operator's own rate limit.",
            ["verb"],
            registry=self.registry,
            buckets=SECONDS,
        )
        self.watch_age_seconds = Gauge(
            "ccl_operator_watch_age_seconds",
            "Since the API server last said anything about a kind; of ours, since its watch was known to miss nothing.",
            ["resource", "scope"],
            registry=self.registry,
        )
        self.watch_failures = Counter(
            "ccl_operator_watch_failures",
            "Listings and watches that did not end in good order, or missed what listings found.",
            ["resource"],
            registry=self.registry,
        )
        self.probes = Counter(
            "ccl_operator_probes", "Readiness questions to service pods.", ["outcome"], registry=self.registry
        )
        self.events_dropped = Counter(
            "ccl_operator_events_dropped", "Events not posted: too many, or refused.", registry=self.registry
        )
        self.forbidden = Counter(
            "ccl_operator_forbidden", "Requests refused for a missing permission.", ["resource"], registry=self.registry
        )


class Conditions(Collector):
    """One series per object and condition, of the value 1, with status and reason as labels (as kube-state-metrics
    has them)."""

    def __init__(self, owners: Callable[[], Iterable[Manifest]]) -> None:
        self._owners = owners

    def collect(self) -> Iterator[Metric]:
        """Of this moment."""
        found = GaugeMetricFamily(
            "ccl_operator_condition",
            "Conditions of the CclDeployments, as last written.",
            labels=["namespace", "name", "type", "status", "reason"],
        )
        for owner in self._owners():
            metadata = owner["metadata"]
            for one in (owner.get("status") or {}).get("conditions") or ():
                told = [one["type"], one["status"], one["reason"]]
                found.add_metric([metadata["namespace"], metadata["name"], *told], 1.0)
        yield found
