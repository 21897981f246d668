"""The process: health, metrics, signals."""

import time

from tests.operator.conftest import Place


def test_sigterm_ends_it_within_three_seconds_with_code_0(place: Place) -> None:
    operator = place.start_operator()
    place.create()
    place.promote()
    started = time.monotonic()
    assert operator.stop() == 0
    assert time.monotonic() - started <= 3


def test_the_metrics_tell_passes_requests_and_the_age_of_every_watch(place: Place) -> None:
    operator = place.start_operator()
    place.create()
    place.promote()
    assert operator.page("/livez") == "ok\n"
    page = operator.page("/metrics")
    for wanted in (
        'ccl_operator_reconcile_seconds_count{outcome="wrote"}',
        'ccl_operator_api_requests_total{code="201",resource="services",verb="patch"}',
        f'ccl_operator_watch_age_seconds{{resource="pods",scope="{place.namespace}"}}',
        "ccl_operator_queue_depth",
    ):
        assert wanted in page


def test_without_a_cluster_it_says_so_and_fails(place: Place) -> None:
    operator = place.launch_operator(kubeconfig=place.folder / "missing")
    assert operator.wait_ended() == 1
    assert "no cluster" in operator.log()
