"""The operator's own metrics, on a registry of its own. Names carry the unit; labels are few and bounded."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Made once per process and passed to whoever counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconcile_seconds = Histogram(
            "ccl_operator_reconcile_seconds",
            "One pass over one CclDeployment.",
            ["outcome"],
            registry=self.registry,
            buckets=SECONDS,
        )
        self.queue_depth = Gauge(
            "ccl_operator_queue_depth", "CclDeployments waiting for a worker.", registry=self.registry
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
        self.watch_age_seconds = Gauge(
            "ccl_operator_watch_age_seconds",
            "Since the API server last said anything about a kind.",
            ["resource", "namespace"],
            registry=self.registry,
        )
        self.probes = Counter(
            "ccl_operator_probes", "Readiness questions to service pods.", ["outcome"], registry=self.registry
        )
        self.events_dropped = Counter(
            "ccl_operator_events_dropped", "Events not posted: too many, or refused.", registry=self.registry
        )
        self.forbidden = Counter(
            "ccl_operator_forbidden", "Writes refused for a missing permission.", ["resource"], registry=self.registry
        )
