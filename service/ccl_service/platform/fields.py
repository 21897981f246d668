"""Types for what comes from outside: text, moments and row numbers in the form that the service keeps."""

import re
import unicodedata
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints
from pydantic_core import PydanticCustomError

#: Control characters besides line breaks and tabs, and lone surrogates. Unicode promises never to add any.
_REFUSED: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
#: Marks on one letter. No language needs more than a few; text with so many in a row is called stream-safe (UAX 15).
MOST_MARKS: Final = 30
_YEARS: Final = range(1900, 3000)


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


def plausible(moment: datetime) -> datetime:
    """``moment``, unless its year is none that anybody means: the ends of the calendar overflow in other time zones.

    Raises PydanticCustomError ``year``.
    """
    if moment.year not in _YEARS:
        raise PydanticCustomError("year", "must lie between the years 1900 and 2999")
    return moment


#: For every text field of a model that is filled from outside.
CleanText = Annotated[str, AfterValidator(clean)]
#: The same without outer white space.
Line = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(clean)]
#: A moment with its time zone.
Instant = Annotated[AwareDatetime, AfterValidator(plausible)]
#: The number of a row, 0 for "before the first": what fits PostgreSQL's bigint.
RowNumber = Annotated[int, Field(ge=0, le=2**63 - 1)]
