"""Text, moments, JSON and cursors as they come from outside."""

import contextlib
import json
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from ccl_service.platform.cursor import moment, pack, unpack
from ccl_service.platform.fields import MOST_MARKS, WHOLE, Instant, clean, plausible
from ccl_service.platform.json_input import MAX_DEPTH, MOST_VALUES, decode_json
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


@pytest.mark.parametrize("marks", ["\u0301", "\u0323\u0301"])
def test_a_letter_may_have_many_marks_but_not_as_many_as_would_take_long_to_sort(marks: str) -> None:
    most = marks * (MOST_MARKS // len(marks))
    assert clean(f"a{most}b{most}") == unicodedata.normalize("NFC", f"a{most}b{most}")
    with pytest.raises(PydanticCustomError, match="more than 30 combining characters"):
        clean(f"a{most}{marks}")


@pytest.mark.parametrize("year", [1, 1899, 3000, 9999])
def test_a_year_that_nobody_means_is_refused(year: int) -> None:
    with pytest.raises(PydanticCustomError, match="year"):
        plausible(datetime(year, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("number", [0.5, 1700000000, True, "0.5", " 1700000000 ", "1e9", "-3", "inf", "NaN", ""])
def test_a_number_is_no_moment(number: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_python(number)


def test_a_moment_that_is_written_out_is_taken() -> None:
    assert TypeAdapter(Instant).validate_python("2026-03-01T12:00:00+01:00").hour == 12


WHOLE_NUMBER = TypeAdapter[int](Annotated[int, Field(ge=0), WHOLE])


@pytest.mark.parametrize("other", ["5", True, 2.5, None, [1]])
def test_what_only_looks_like_a_whole_number_is_refused(other: object) -> None:
    with pytest.raises(ValidationError):
        WHOLE_NUMBER.validate_python(other)


@pytest.mark.parametrize("whole", [5, 5.0])
def test_a_whole_number_is_one_however_json_writes_it(whole: float) -> None:
    assert WHOLE_NUMBER.validate_python(whole) == 5


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


@pytest.mark.parametrize("most", [1, 2, MAX_DEPTH])
@pytest.mark.parametrize(("opening", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_taken_up_to_its_limit_and_no_further(most: int, opening: bytes, end: bytes) -> None:
    def nested(depth: int) -> bytes:
        return opening * (depth - 1) + b"[]" + end * (depth - 1)

    decode_json(nested(most), depth=most)
    for depth in (most + 1, 100_000):
        with pytest.raises(Malformed):
            decode_json(nested(depth), depth=most)


@pytest.mark.parametrize(
    ("shape", "others"), [("[0,0,0,{}]", 3), ('{{"a": 0, "b": [{}, 0, 0]}}', 4), ("[[{}, 0], [], {{}}]", 6)]
)
def test_a_document_holds_so_many_values_and_no_more(shape: str, others: int) -> None:
    numbers = ",".join(["0"] * (MOST_VALUES - others))
    decode_json(shape.format(numbers).encode())
    with pytest.raises(Malformed, match="more than 10000 values"):
        decode_json(shape.format(f"{numbers},0").encode())


@pytest.mark.parametrize("text", [",", "[{", "\\", '"', '\\",'])
def test_what_stands_in_a_text_is_no_value(text: str) -> None:
    said = text * MOST_VALUES
    assert decode_json(json.dumps({"text": said, "more": said}).encode()) == {"text": said, "more": said}


def test_what_is_no_json_is_refused_for_that_however_many_marks_it_holds() -> None:
    for raw in (b'"' + b'\\"' * 100_000, b'["' + b"," * 100_000, b'"\\'):
        with pytest.raises(Malformed, match="not JSON at line 1"):
            decode_json(raw)


@pytest.mark.parametrize("raw", [b'{"a": 1, "a": 1}', '{"\u00e9": 1, "e\u0301": 1}'.encode()])
def test_a_key_given_twice_is_refused_however_its_letters_are_composed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="same key twice"):
        decode_json(raw)


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
