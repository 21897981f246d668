"""What is taken for a social security or card number, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.leads.redaction import REDACTED, luhn, redact


@pytest.mark.parametrize(
    "text",
    [
        "078-05-1120",
        "078 05 1120",
        "078.05.1120",
        "my ssn is 078051120",
        "SSN: 078051120",
        "social security number 078-05-1120",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111111111111111",
        "378282246310005",
    ],
)
def test_a_number_like_a_secret_one_is_redacted(text: str) -> None:
    assert REDACTED in redact(f"so {text}, ok")
    assert not any(char.isdigit() for char in redact(f"so {text}, ok"))


@pytest.mark.parametrize(
    "text",
    [
        "(312) 555-0142",
        "+1 312 555 0142",
        "60601-1234",
        "2019 Corolla",
        "4111 1111 1111 1112",
        "$12,000",
        "APP-10012345",
    ],
)
def test_another_number_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.from_regex(r"\d{3}-\d{2}-\d{4}", fullmatch=True), st.text(alphabet="abc ,.!", max_size=10))
def test_every_number_of_that_shape_is_redacted_wherever_it_stands(number: str, around: str) -> None:
    assert number not in redact(f"{around}{number}{around}")


@given(st.integers(min_value=10**11, max_value=10**18 - 1))
def test_one_of_ten_last_digits_passes_the_luhn_check(number: int) -> None:
    assert sum(luhn(f"{number}{last}") for last in range(10)) == 1
