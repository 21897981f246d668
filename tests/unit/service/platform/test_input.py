"""Text, moments, JSON and cursors as they come from outside."""

import contextlib
import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from ccl_service.platform.body import MAX_DEPTH, decode_json
from ccl_service.platform.cursor import moment, pack, unpack
from ccl_service.platform.fields import clean, plausible
from ccl_service.platform.problems import FieldError, Malformed, ValidationFailed


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_clean_text_is_composed_and_stays_as_it_is(text: str) -> None:
    once = clean(text)
    assert once == unicodedata.normalize("NFC", text) == clean(once)


@pytest.mark.parametrize("char", ["\x00", "\x08", "\x1b", "\x7f", "\x85", "\ud800"])
def test_control_characters_and_lone_surrogates_are_refused(char: str) -> None:
    with pytest.raises(PydanticCustomError, match="control character"):
        clean(f"a{char}b")


def test_line_breaks_tabs_and_joined_emoji_stay() -> None:
    for text in ("a\r\n\tb", "\U0001f468\u200d\U0001f469\u200d\U0001f467"):
        assert clean(text) == text


@pytest.mark.parametrize("year", [1, 1899, 3000, 9999])
def test_a_year_that_nobody_means_is_refused(year: int) -> None:
    with pytest.raises(PydanticCustomError, match="year"):
        plausible(datetime(year, 1, 1, tzinfo=UTC))


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_refusal(raw: bytes) -> None:
    with contextlib.suppress(Malformed, ValidationFailed):
        json.dumps(decode_json(raw))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cc", "Cs"))).map(clean),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_clean_json_arrives_as_it_was_sent(value: Any) -> None:
    assert decode_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize("raw", [b"1e999", b"-1e999", b"NaN", b"Infinity", b'{"a": [1e400]}'])
def test_a_number_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        decode_json(raw)


def test_nesting_is_taken_up_to_its_limit_and_no_further() -> None:
    decode_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(Malformed):
            decode_json(b"[" * depth + b"]" * depth)


def test_a_key_is_cleaned_like_a_value() -> None:
    assert decode_json('{"Jose\u0301": 1}'.encode()) == {"Jos\u00e9": 1}


def test_the_place_of_a_control_character_is_told() -> None:
    with pytest.raises(ValidationFailed) as caught:
        decode_json(b'{"people": [{"name": "a"}, {"name": "a\\u0000"}]}')
    assert [error.pointer for error in caught.value.errors] == ["#/people/1/name"]


@pytest.mark.parametrize(
    ("path", "pointer"),
    [((), "#"), (("a", 0, "b"), "#/a/0/b"), (("a/b", "c~d"), "#/a~1b/c~0d"), (("x" * 1000,), "#/" + "x" * 198)],
)
def test_a_pointer_is_escaped_and_bounded(path: tuple[str | int, ...], pointer: str) -> None:
    assert FieldError(path, "code", "message").pointer == pointer


@given(
    st.datetimes(datetime(1900, 1, 2), datetime(2999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds it
    st.uuids(),
)
def test_a_cursor_gives_back_what_was_packed(at: datetime, key: Any) -> None:
    first, second = unpack(pack(at, key), 2)
    assert moment(first) == at
    assert second == str(key)


@given(st.text(max_size=100))
def test_a_made_up_cursor_is_the_callers_mistake(text: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        moment(unpack(text, 2)[0])
    (error,) = caught.value.errors
    assert (error.where, error.pointer, error.code) == ("query", "#/after", "cursor")


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "yesterday", "", "2026"])
def test_a_moment_of_a_cursor_needs_a_time_zone_and_a_plausible_year(text: str) -> None:
    with pytest.raises(ValidationFailed):
        moment(text)


def test_a_cursor_with_control_characters_never_reaches_the_database() -> None:
    with pytest.raises(ValidationFailed):
        unpack(pack("1", "\x00", "a"), 3)
