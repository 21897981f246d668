"""Quantiles from buckets against exact ones, and merging."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from ccl_service.platform.telemetry.histogram import COARSEST, ERROR, FINEST, LogHistogram

SECONDS = st.floats(min_value=FINEST, max_value=COARSEST, allow_nan=False)
SAMPLES = st.lists(SECONDS, min_size=1, max_size=300)
FRACTIONS = st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0])


def filled(values: list[float]) -> LogHistogram:
    histogram = LogHistogram()
    for value in values:
        histogram.add(value)
    return histogram


def exact(values: list[float], fraction: float) -> float:
    """Nearest rank."""
    return sorted(values)[max(1, math.ceil(fraction * len(values))) - 1]


@given(SAMPLES, FRACTIONS)
def test_a_quantile_is_within_the_stated_error_of_the_exact_one(values: list[float], fraction: float) -> None:
    found = filled(values).quantile(fraction)
    wanted = exact(values, fraction)
    assert found is not None
    assert abs(found - wanted) <= wanted * ERROR * (1 + 1e-9)


@given(SAMPLES, SAMPLES, FRACTIONS)
def test_a_merge_is_as_if_all_values_had_been_added_to_one(one: list[float], other: list[float], part: float) -> None:
    merged = filled(one)
    merged.merge(filled(other))
    assert merged.counts == filled(one + other).counts
    assert merged.total == len(one) + len(other)
    assert merged.quantile(part) == filled(one + other).quantile(part)


@given(SAMPLES)
def test_json_gives_the_same_histogram_back(values: list[float]) -> None:
    histogram = filled(values)
    again = LogHistogram.from_pairs(json.loads(json.dumps(histogram.as_pairs())))
    assert (again.counts, again.total) == (histogram.counts, histogram.total)


def test_an_empty_histogram_has_no_quantile() -> None:
    assert LogHistogram().quantile(0.5) is None


def test_values_outside_of_the_range_count_as_the_nearer_end() -> None:
    histogram = filled([0.0, -1.0, 1e9])
    assert histogram.quantile(0.1) == FINEST
    top = histogram.quantile(1.0)
    assert top is not None
    assert abs(top - COARSEST) <= COARSEST * 2 * ERROR


@given(st.lists(SECONDS, max_size=2000))
def test_memory_is_bounded_whatever_comes_in(values: list[float]) -> None:
    assert len(filled(values).counts) <= math.log(COARSEST / FINEST) / ERROR
