"""Removes SSN-like and card-like text before it is stored, logged or shown to a model. Pure."""

import re
from typing import Final

REDACTED: Final = "[redacted]"

#: 123-45-6789 with the separators people use, or nine digits announced as an SSN. Nine bare digits alone are not
#: taken for one (they may be a ZIP+4 or a loan number), except when a word says so.
_SSN: Final = re.compile(r"(?<![\d-])\d{3}[-. \u2010-\u2015]\d{2}[-. \u2010-\u2015]\d{4}(?![\d-])")
_SSN_SAID: Final = re.compile(
    r"(?i)\b(ssn|social(?:\s+security)?(?:\s+(?:number|no\.?|#))?)(\W{0,5}(?:is\W{1,3})?)\d{3}\W?\d{2}\W?\d{4}(?!\d)"
)
_DIGIT: Final = re.compile(r"\d")
#: 13 to 19 digits in groups; the Luhn sum tells a card from another long number (ISO/IEC 7812-1).
_CARD: Final = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")


def redact(text: str) -> str:
    """``text`` with every SSN-like and card-like part replaced by ``[redacted]``. Redacting twice changes nothing."""
    if not _DIGIT.search(text):
        return text  # most names and wishes
    text = _SSN_SAID.sub(lambda match: f"{match[1]}{match[2]}{REDACTED}", text)
    text = _SSN.sub(REDACTED, text)
    return _CARD.sub(lambda match: REDACTED if luhn(match[0]) else match[0], text)


def luhn(digits: str) -> bool:
    """Whether the digits in the text pass the Luhn check; other characters are skipped."""
    total = 0
    for place, char in enumerate(char for char in reversed(digits) if char.isdigit()):
        value = int(char) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
