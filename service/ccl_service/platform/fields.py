"""Types for what comes from outside, in the form that the service keeps, and for what several answers show."""

import re
import unicodedata
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StringConstraints
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

#: Control characters besides line breaks and tabs, and lone surrogates. Unicode promises never to add any.
_REFUSED: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
#: Marks on one letter. No language needs more than a few; text with so many in a row is called stream-safe (UAX 15).
MOST_MARKS: Final = 30
_YEARS: Final = range(1900, 3000)
_NUMBER: Final = re.compile(r"[-+]?[\d_.]*(e[-+]?\d+)?|[-+]?(inf|infinity|nan)", re.IGNORECASE)
_CONTROLS: Final = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
#: What ``clean`` asks for, said in JSON Schema; the same of a text that is more than white space.
PRINTABLE: Final[JsonDict] = {"pattern": rf"^[^{_CONTROLS}]*$"}
NOT_BLANK: Final[JsonDict] = {"pattern": rf"^[^{_CONTROLS}]*[^\s{_CONTROLS}][^{_CONTROLS}]*$"}
#: Of a list ordered by time and id.
EXAMPLE_CURSOR: Final = "MjAyNi0wMy0wMVQxMjowMDowMCswMDowMHwwYjBlN2UwZS0zYzQzLTRkNWMtOWQ0YS01ZjFmNGYyZjZhMTE"


def clean(text: str) -> str:
    """``text`` in NFC (Unicode Standard Annex 15).

    Raises PydanticCustomError ``control_character`` for control characters besides line breaks and tabs, and for lone
    surrogates: PostgreSQL cannot store them, and a terminal that shows a log would obey them. ``combining_characters``
    for more than ``MOST_MARKS`` on one letter: to sort them takes time that grows with the square of their number.
    """
    if text.isascii() and text.isprintable():
        return text
    if _REFUSED.search(text):
        raise PydanticCustomError("control_character", "holds a control character")
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks > MOST_MARKS:
            raise PydanticCustomError(
                "combining_characters", "holds more than {most} combining characters in a row", {"most": MOST_MARKS}
            )
    return unicodedata.normalize("NFC", text)


def without_controls(text: str) -> str:
    """``text`` without the characters that ``clean`` refuses: for whoever cannot be told to write it anew."""
    return _REFUSED.sub("", text)


def plausible(moment: datetime) -> datetime:
    """``moment``, unless its year is none that anybody means: the ends of the calendar overflow in other time zones.

    Raises PydanticCustomError ``year``.
    """
    if moment.year not in _YEARS:
        raise PydanticCustomError("year", "must lie between the years 1900 and 2999")
    return moment


def written(value: object) -> object:
    """A moment that is written out. What a bare number means, seconds or milliseconds since when, is a guess.

    Raises PydanticCustomError ``datetime_type``.
    """
    if isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
        raise PydanticCustomError("datetime_type", "must be a time in ISO 8601 with a time zone")
    return value


def number(value: object) -> object:
    """A number, not its text or a truth value. Raises PydanticCustomError ``int_type``."""
    if isinstance(value, str | bool):
        raise PydanticCustomError("int_type", "must be a whole number")
    return value


#: For every text field of a model that is filled from outside.
CleanText = Annotated[str, Field(json_schema_extra=PRINTABLE), AfterValidator(clean)]
#: The same without outer white space.
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    Field(json_schema_extra=NOT_BLANK),
    AfterValidator(clean),
]
#: A moment with its time zone.
Instant = Annotated[
    AwareDatetime,
    Field(json_schema_extra={"pattern": r"^(19|2\d)\d\d-"}),
    BeforeValidator(written),
    AfterValidator(plausible),
]
#: Marks a whole number of a body: neither its text is one nor true, but 2.0 is, as in JSON Schema.
WHOLE: Final = BeforeValidator(number)
#: The number of a row, 0 for "before the first": what fits PostgreSQL's bigint.
RowNumber = Annotated[int, Field(ge=0, le=2**63 - 1, examples=[0])]
#: The query parameter ``after`` of a list; ``platform.cursor`` makes and reads it.
Cursor = Annotated[str, Field(max_length=400, examples=[EXAMPLE_CURSOR])]

#: The same in an answer: what continues a list, null at its end.
Next = Annotated[str, Field(examples=[EXAMPLE_CURSOR])] | None
Count = Annotated[int, Field(ge=0, examples=[12])]
Seconds = Annotated[float, Field(ge=0, examples=[3.2])]
Milliseconds = Annotated[float, Field(ge=0, examples=[4.7])]
