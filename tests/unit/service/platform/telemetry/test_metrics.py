"""Metrics and the number of their series."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from ccl_service.platform.telemetry.metrics import DEFINED, Metrics
from ccl_service.platform.telemetry.red import Answers, Durations


def test_a_wrong_name_is_refused() -> None:
    with pytest.raises(KeyError):
        Metrics().count("ccl_misspelt")
    with pytest.raises(KeyError):
        Metrics().gauge("ccl_misspelt", 1)


def test_a_gauge_that_nobody_has_set_is_absent() -> None:
    metrics = Metrics()
    assert "ccl_memory_limit_bytes" not in {sample["name"] for sample in metrics.samples()}
    metrics.gauge("ccl_memory_limit_bytes", 0)
    assert "ccl_memory_limit_bytes" in {sample["name"] for sample in metrics.samples()}


def test_an_answer_is_counted_timed_and_put_into_the_windows() -> None:
    metrics = Metrics()
    metrics.answered("GET", "/live", 200, 0.2)
    metrics.answered("GET", "/live", 503, 0.4)
    assert metrics.value("ccl_http_requests_total", method="GET", route="/live", status="200") == 1
    assert metrics.value("ccl_http_request_seconds_sum", method="GET", route="/live") == pytest.approx(0.6)
    assert metrics.windows.window(1)["GET", "/live"].errors == 1
    assert metrics.total("ccl_http_requests_total") == 2


def test_every_metric_is_ours_by_its_name() -> None:
    assert all(name.startswith("ccl_") for name in DEFINED)


@given(st.lists(st.floats(0, 100), max_size=50))
def test_our_histogram_is_exposed_as_the_client_library_s(values: list[float]) -> None:
    """The library's own histogram is the standard that ours must not differ from."""
    buckets = (0.1, 0.5, 1, 10)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("x_seconds", "Text", ("route",), buckets)
    ours.register(durations)
    histogram = Histogram("x_seconds", "Text", ["route"], buckets=buckets, registry=theirs)
    for value in values:
        durations.add(("/a",), value)
        histogram.labels("/a").observe(value)
    wanted = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(ours).decode().splitlines() == wanted


def test_our_counter_of_answers_is_exposed_as_the_client_library_s() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    answers = Answers()
    ours.register(answers)
    counter = Counter(Answers.name, Answers.text, ["method", "route", "status"], registry=theirs)
    for status in (200, 404, 200):
        answers.add("GET", "/a", status)
        counter.labels("GET", "/a", str(status)).inc()
    wanted = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(ours).decode().splitlines() == wanted


def test_a_value_with_other_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="method, route"):
        Metrics().observe("ccl_http_request_seconds", 0.1, "GET")
