"""The short way for usual addresses and numbers comes to what the whole way comes to."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from ccl_service.leads import model


def outcome(normal: Callable[[str], str], text: str) -> str:
    try:
        return normal(text)
    except PydanticCustomError as error:
        return f"refused: {error.type}"


LOCAL = st.one_of(st.from_regex(r"[A-Za-z0-9_+.-]{1,66}", fullmatch=True), st.text(max_size=6))
DOMAIN = st.one_of(
    st.sampled_from(("example.com", "GMail.com", "bücher.example", "localhost", "a..b", "-a.com", "[1.2.3.4]")),
    st.from_regex(r"[A-Za-z0-9.-]{1,12}\.[a-z]{1,5}", fullmatch=True),
    st.just("a" * 60 + "." + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + ".com"),
    st.text(max_size=6),
)


@given(LOCAL, DOMAIN)
@example("a" * 64, "example.com")
@example("a" * 65, "example.com")
@example(".a", "example.com")
@example("WWW", "example.com")
@example('"a b"', "example.com")
def test_an_address_the_short_way_is_the_same(local: str, domain: str) -> None:
    text = f"{local}@{domain}"
    assert outcome(model.normal_email, text) == outcome(lambda one: model._any_email(one.strip()), text)


DIGITS = st.from_regex(r"[0-9]{10}", fullmatch=True)
SHAPES = st.sampled_from(
    (
        "{0}{1}{2}",
        "({0}) {1}-{2}",
        "{0}-{1}-{2}",
        "+1{0}{1}{2}",
        "1 {0} {1} {2}",
        "+1-{0}.{1}.{2}",
        " {0} {1}{2} ",
        "({0}{1}{2}",
    )
)


@given(DIGITS, SHAPES)
@example("3125550142", "1{0}{1}{2}")
@example("8005550100", "{0}-{1}-{2}")
@example("4165550142", "({0}) {1}-{2}")
def test_a_number_the_short_way_is_the_same(digits: str, shape: str) -> None:
    text = shape.format(digits[:3], digits[3:6], digits[6:])
    assert outcome(model.normal_phone, text) == outcome(model._any_phone, text)


@pytest.mark.parametrize("text", ["+44 20 7946 0958", "312-555-014", "phone", "3125550142 x5", "٣١٢٥٥٥٠١٤٢"])
def test_what_is_not_usual_goes_the_whole_way(text: str) -> None:
    assert outcome(model.normal_phone, text) == outcome(model._any_phone, text)
