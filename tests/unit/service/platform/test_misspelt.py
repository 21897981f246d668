"""Variables that look like one of ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.platform.config import Settings, known_names
from ccl_service.platform.config_sources import variables
from ccl_service.platform.misspelt import distance, misspellings

KNOWN = known_names(variables(Settings))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RATE_LIMIT_MAX_REQUEST", "RATE_LIMIT_MAX_REQUESTS"),
        ("CORS_ORIGINS", "CORS_ORIGIN"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("DB_POOLSIZE", "DB_POOL_SIZE"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("TRUST_PROXYS", "TRUST_PROXY"),
        ("OPENAI_KEY", "OPENAI_API_KEY"),
        ("MAILGUN_KEY_API", "MAILGUN_API_KEY"),
        ("SECRET_JWT", "JWT_SECRET"),
        ("PROT", "PORT"),
        ("log_level", "LOG_LEVEL"),
        ("CORS_ORIGIN_FILE", "CORS_ORIGIN"),
        ("JWT_SECRETS_FILE", "JWT_SECRET_FILE"),
    ],
)
def test_a_slip_names_what_was_meant(name: str, meant: str) -> None:
    assert [found.meant for found in misspellings([name], KNOWN)] == [meant]


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "USER", "LANG", "TERM", "HOSTNAME", "PYTHONPATH", "VIRTUAL_ENV", "TZ", "PWD", "SHLVL", "_"),
        *("KUBERNETES_PORT", "KUBERNETES_SERVICE_HOST", "DATABASE_PORT_5432_TCP", "REDIS_SERVICE_HOST", "REDIS_PORT"),
        *("LOANS_POSTGRES_PORT_5432_TCP_ADDR", "OTEL_EXPORTER_OTLP_ENDPOINT", "DATABASE_USER", "POD_IP", "CI"),
        *("NODE_ENV", "DATABASE_URL_FILE", "MONITOR_KEY_FILE", "JWT_SECRET_FILE", "SSL_CERT_FILE"),
    ],
)
def test_other_programs_variables_and_our_own_are_left_alone(name: str) -> None:
    assert misspellings([name], KNOWN) == ()


@given(st.sampled_from(sorted(KNOWN)))
def test_no_right_name_is_ever_called_wrong(name: str) -> None:
    assert misspellings([name], KNOWN) == ()


WORDS = st.text("ABC_", max_size=6)


@given(WORDS, WORDS)
def test_the_distance_is_symmetric_and_zero_only_for_the_same(left: str, right: str) -> None:
    assert distance(left, right, at_most=9) == distance(right, left, at_most=9)
    assert (distance(left, right, at_most=9) == 0) == (left == right)


@given(WORDS, WORDS, st.integers(0, 4))
def test_looking_near_the_diagonal_only_loses_nothing(left: str, right: str, at_most: int) -> None:
    assert distance(left, right, at_most=at_most) == min(distance(left, right, at_most=9), at_most + 1)


@pytest.mark.parametrize(("left", "right", "expected"), [("AB", "BA", 1), ("ABC", "AC", 1), ("A", "BCD", 3)])
def test_a_swap_of_neighbours_is_one_step(left: str, right: str, expected: int) -> None:
    assert distance(left, right, at_most=9) == expected
