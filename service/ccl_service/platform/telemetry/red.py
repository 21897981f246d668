"""Rate, errors and duration, kept in plain numbers.

The path of every request and statement leads through here: the client library's own instruments cost several times as
much, for locks that one event loop does not need. What is exposed is the same.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

#: The values of a series' labels, in the order of their names.
Labels = tuple[str, ...]


class _Series:
    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        #: Each value once; the sums that Prometheus wants are made when it asks.
        self.counts = [0] * (buckets + 1)
        self.total = 0.0


class Durations(Collector):
    """A histogram. For one thread: the event loop's."""

    def __init__(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        self._name, self._text, self._labels = name, text, tuple(labels)
        self._buckets = tuple(float(bound) for bound in buckets)
        self._bounds = (*(str(bound) for bound in self._buckets), "+Inf")
        self._series: dict[Labels, _Series] = {}
        if not self._labels:
            self._start(())

    def add(self, labels: Labels, seconds: float) -> None:
        """Count one value. Raises ValueError for other labels than defined."""
        series = self._series.get(labels)
        if series is None:
            series = self._start(labels)
        series.counts[bisect_left(self._buckets, seconds)] += 1
        series.total += seconds

    def collect(self) -> Iterable[Metric]:
        """As the client library would expose it."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for labels, series in self._series.items():
            family.add_metric(labels, self._cumulated(series.counts), series.total)
        return (family,)

    def _start(self, labels: Labels) -> _Series:
        if len(labels) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {', '.join(self._labels) or 'none'}")
        series = self._series[labels] = _Series(len(self._buckets))
        return series

    def _cumulated(self, counts: Iterable[int]) -> list[tuple[str, float]]:
        found, so_far = [], 0
        for bound, count in zip(self._bounds, counts, strict=True):
            so_far += count
            found.append((bound, float(so_far)))
        return found


class Answers(Collector):
    """Requests by method, route template and status. For one thread: the event loop's."""

    name = "ccl_http_requests"
    text = "Requests by route template and status"

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}

    def add(self, method: str, route: str, status: int) -> None:
        """Count one answer."""
        key = (method, route, status)
        self._counts[key] = self._counts.get(key, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """As the client library would expose it."""
        family = CounterMetricFamily(self.name, self.text, labels=["method", "route", "status"])
        for (method, route, status), count in self._counts.items():
            family.add_metric([method, route, str(status)], count)
        return (family,)
