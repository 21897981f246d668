"""Everything that one process counts, as Prometheus instruments on a registry of its own.

Every label's values come from a list of the program: route templates, enumerations, names of tables and providers.
What callers send never becomes a label, so that the number of series is bounded.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ccl_service.platform.telemetry.red import Answers, Durations
from ccl_service.platform.telemetry.windows import Windows

REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)
CALL_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

#: Metric → (what it says, its labels).
_COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "ccl_http_shed": ("Requests turned away because there was more work than time", ("priority",)),
    "ccl_http_limited": ("Requests and connections refused by a limit, by its class", ("limit",)),
    "ccl_http_refused": ("Requests refused for their credentials, by problem code", ("code",)),
    "ccl_http_broken_bodies": ("Bodies that were not encoded as their head said", ()),
    "ccl_limit_sync_failures": ("Reconciliations with Redis that failed; counting went on locally", ()),
    "ccl_key_read_failures": ("Key files that could not be used; the last good set stayed", ("key",)),
    "ccl_db_reads": ("Statements that a replica may answer, by who did", ("target",)),
    "ccl_db_failures": ("Statements that failed for the database's sake, by problem code", ("code",)),
    "ccl_work_outcomes": ("Claimed rows, by what became of the claim", ("queue", "outcome")),
    "ccl_worker_failures": ("Background loops that failed and were started again", ("worker",)),
    "ccl_provider_calls": ("Calls of outside providers", ("provider", "outcome")),
    "ccl_provider_tokens": ("Tokens of language models", ("provider", "kind")),
    "ccl_provider_cost_usd": ("Cost of language models in US dollars, where the price is known", ("provider",)),
    "ccl_leads_created": ("New leads", ("source",)),
    "ccl_first_contacts": ("First contacts started", ()),
    "ccl_sends": ("Facts learnt about sends, by the state they tell", ("state",)),
    "ccl_opt_outs": ("People who said that they want no more of us, by the way they said it", ("way",)),
    "ccl_chat_turns": ("Answered messages of visitors, by how the answer came about", ("outcome",)),
    "ccl_import_rows": ("Rows of imported files", ("outcome",)),
    "ccl_audit_sealed": ("Audit rows that got their place in the chain", ()),
    "ccl_audit_faults": ("Audit rows and chain ends that were not what this service had written", ("kind",)),
}
_GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "ccl_build_info": ("Always 1; the labels say what runs", ("version", "revision", "role")),
    "ccl_http_in_flight": ("Requests being answered", ()),
    "ccl_http_connections": ("Connections that callers hold", ()),
    "ccl_http_connections_max": ("Connections at most, for the file descriptors that the process may have", ()),
    "ccl_db_connections_in_use": ("Pool connections lent out", ()),
    "ccl_db_connections_max": ("Pool connections at most", ()),
    "ccl_db_replica_lag_seconds": ("How far a replica is behind; +Inf when it is away", ("replica",)),
    "ccl_db_replica_usable": ("1 while a replica is read", ("replica",)),
    "ccl_db_waiters": ("Callers that wait for a pool connection", ()),
    "ccl_work_due": ("Rows that are due and unclaimed, counted up to a bound", ("queue",)),
    "ccl_work_leased": ("Rows under a lease, counted up to a bound", ("queue",)),
    "ccl_work_oldest_due_seconds": ("How long the oldest due row has waited", ("queue",)),
    "ccl_work_in_quarantine": ("Rows that wait for a human", ("queue",)),
    "ccl_breaker_open": ("1 while calls are held back because they kept failing", ("provider",)),
    "ccl_component_up": ("1 up, 0 down, by component of the health report", ("component",)),
    "ccl_memory_working_set_bytes": ("Memory of the container without droppable cache", ()),
    "ccl_memory_limit_bytes": ("Memory limit of the container; absent without one", ()),
    "ccl_filesystem_size_bytes": ("Size of the file system", ("mount",)),
    "ccl_filesystem_available_bytes": ("Free bytes of the file system", ("mount",)),
    "ccl_certificate_expiry_timestamp_seconds": ("End of the certificate that PUBLIC_BASE_URL shows", ()),
    "ccl_certificate_probe_success": ("1 when that certificate could be read at the last try", ()),
}
_HISTOGRAMS: Final[Mapping[str, tuple[str, tuple[str, ...], tuple[float, ...]]]] = {
    "ccl_http_request_seconds": (
        "Time from a request's head to the end of its answer; without those turned away",
        ("method", "route"),
        REQUEST_BUCKETS,
    ),
    "ccl_db_wait_seconds": ("Time callers waited for a pool connection", (), REQUEST_BUCKETS),
    "ccl_provider_call_seconds": ("Time of calls of outside providers", ("provider",), CALL_BUCKETS),
    "ccl_event_loop_lag_seconds": ("How late the event loop runs what is due", (), LAG_BUCKETS),
}

#: Counters that somebody else keeps.
_KEPT_ELSEWHERE: Final[Mapping[str, str]] = {"ccl_log_lines_lost": "Log lines that could not be written"}
#: Every metric of the service by its base name; counters are exposed with ``_total``, histograms with ``_bucket``.
DEFINED: Final = frozenset({*_COUNTERS, *_GAUGES, *_HISTOGRAMS, *_KEPT_ELSEWHERE, Answers.name})


class Count(Protocol):
    """``Metrics.count``, for those who need nothing else of it."""

    def __call__(self, name: str, *labels: str, by: float = 1) -> None:
        """Add ``by`` to a counter."""


def uncounted(name: str, *labels: str, by: float = 1) -> None:
    """A ``Count`` for those whom nobody watches."""


class Metrics:
    """One instance per application. Instruments are reached by name; a wrong name is a KeyError."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` in seconds, monotonic; the windows turn by it."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._counters = {
            n: Counter(n, text, labels, registry=self.registry) for n, (text, labels) in _COUNTERS.items()
        }
        #: Counters that were counted on already: the library's own look-up costs more than counting.
        self._children: dict[tuple[str, tuple[str, ...]], Counter] = {}
        #: A gauge without labels appears when it is first set, so that an unknown value is absent and not 0.
        self._gauges: dict[str, Gauge] = {}
        self._histograms = {
            name: Durations(name, text, labels, buckets) for name, (text, labels, buckets) in _HISTOGRAMS.items()
        }
        self._answers = Answers()
        for kept in (*self._histograms.values(), self._answers):
            self.registry.register(kept)
        self._seconds = self._histograms["ccl_http_request_seconds"]
        self.windows = Windows(clock)

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Add ``by`` to a counter; ``labels`` in the order of its definition."""
        child = self._children.get((name, labels))
        if child is None:
            counter = self._counters[name]
            child = self._children[name, labels] = counter.labels(*labels) if labels else counter
        child.inc(by)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Record a value in a histogram."""
        self._histograms[name].add(labels, value)

    def gauge(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        gauge = self._gauge(name)
        (gauge.labels(*labels) if labels else gauge).set(value)

    def gauge_from(self, name: str, read: Callable[[], float], *labels: str) -> None:
        """Ask ``read`` for a gauge's value whenever metrics are collected."""
        gauge = self._gauge(name)
        (gauge.labels(*labels) if labels else gauge).set_function(read)

    def count_from(self, name: str, read: Callable[[], float]) -> None:
        """Ask ``read`` for a counter that somebody else keeps whenever metrics are collected."""
        self.registry.register(_Kept(name, _KEPT_ELSEWHERE[name], read))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record one answered request. ``route`` is a template; on the path of every request."""
        key = (method, route)
        self._answers.add(method, route, status)
        self._seconds.add(key, seconds)
        self.windows.add(key, seconds, error=status >= 500)

    def shed(self, method: str, route: str, status: int, priority: str) -> None:
        """Record a request that was turned away: an answer without a time, however short it was."""
        self.count("ccl_http_shed", priority)
        self._answers.add(method, route, status)
        self.windows.add_shed((method, route))

    def value(self, name: str, **labels: str) -> float:
        """The present value of a sample (``…_total`` for counters); 0 when it has never been touched."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def total(self, name: str) -> float:
        """The sum over all labels of a sample."""
        return sum(s.value for family in self.registry.collect() for s in family.samples if s.name == name)

    def samples(self) -> list[Mapping[str, Any]]:
        """Every sample, for JSON."""
        return [
            {"name": s.name, "labels": s.labels, "value": s.value}
            for family in self.registry.collect()
            for s in family.samples
            if not s.name.endswith("_created")
        ]

    def _gauge(self, name: str) -> Gauge:
        gauge = self._gauges.get(name)
        if gauge is None:
            text, labels = _GAUGES[name]
            gauge = self._gauges[name] = Gauge(name, text, labels, registry=self.registry)
        return gauge


class _Kept(Collector):
    """A counter that is read, not counted here."""

    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self._name, self._text, self._read = name, text, read

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self._name, self._text, value=self._read())
