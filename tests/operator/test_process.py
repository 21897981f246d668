"""The process: health, metrics, signals."""

import time

import pytest

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


def test_an_environment_that_makes_no_sense_ends_it_with_the_variable_and_what_is_allowed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCL_API_WRITES_PER_SECOND", "many")
    operator = place.launch_operator()
    assert operator.wait_ended() == 1
    assert "CCL_API_WRITES_PER_SECOND must be a whole number from 1 to 1000" in operator.log()
