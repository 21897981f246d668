"""Metrics and the number of their series."""

import pytest

from ccl_service.platform.telemetry.metrics import DEFINED, Metrics


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
