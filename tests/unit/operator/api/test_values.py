"""Durations, and quantities in the API server's spelling."""

from datetime import timedelta

import pytest

from ccl_operator.api.values import canonical_bytes, canonical_cpu, duration, milliseconds, seconds


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0.5", "500m"), ("2000m", "2"), ("1.25", "1250m"), ("250m", "250m"), ("1", "1")],
)
def test_cpu_is_spelled_as_the_api_server_stores_it(text, wanted):
    assert canonical_cpu(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1024Mi", "1Gi"),
        ("0.5Gi", "512Mi"),
        ("1536Mi", "1536Mi"),
        ("1000M", "1G"),
        ("1.5G", "1500M"),
        ("512", "512"),
        ("2048Ti", "2Pi"),
    ],
)
def test_bytes_are_spelled_as_the_api_server_stores_them(text, wanted):
    assert canonical_bytes(text) == wanted


def test_durations_add_up_their_parts():
    assert duration("1h30m") == timedelta(minutes=90)
    assert milliseconds("1500ms") == 1500
    assert seconds("1500ms") == 2


@pytest.mark.parametrize("text", ["", "5", "1w", "-5s", "1.5s", "9999999h", "1m\n"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is not a duration"):
        duration(text)
