"""The scalar types of the specification: durations and Kubernetes quantities. Pure.

Quantities have many spellings and the API server stores one (``resource.Quantity``, canonical form). Builders emit that
one, or each reconcile would see a difference.
"""

import math
import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field

from ccl_operator.api import forms

_UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
#: Up to E, which the specification does not take: the API server writes 1024Ti as 1Pi.
_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL: Final = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}

Duration = Annotated[str, Field(pattern=forms.DURATION, max_length=20, json_schema_extra={"format": "duration"})]
Cpu = Annotated[str, Field(pattern=forms.CPU, max_length=10)]
Bytes = Annotated[str, Field(pattern=forms.BYTES, max_length=18)]


def duration(text: str) -> timedelta:
    """``1h30m`` → timedelta. Raises ValueError for anything without the form DURATION."""
    if not forms.has_form(text, forms.DURATION):
        raise ValueError(f"{text!r} is not a duration")
    parts = re.findall(r"([0-9]+)(ms|s|m|h|d)", text)
    return timedelta(milliseconds=sum(int(number) * _UNITS[unit] for number, unit in parts))


def milliseconds(text: str) -> int:
    """A duration in whole milliseconds."""
    return duration(text) // timedelta(milliseconds=1)


def seconds(text: str) -> int:
    """A duration in whole seconds, rounded up."""
    return -(-duration(text) // timedelta(seconds=1))


def cpu_millis(text: str) -> int:
    """``0.5`` → 500: thousandths of a core."""
    return int(Decimal(text[:-1]) if text.endswith("m") else Decimal(text) * 1000)


def canonical_cpu(text: str) -> str:
    """``0.5`` → ``500m``, ``2000m`` → ``2``."""
    millis = cpu_millis(text)
    return str(millis // 1000) if millis % 1000 == 0 else f"{millis}m"


def whole_bytes(text: str) -> int:
    """``10Mi`` → 10485760; a fraction of a byte is rounded up, as the API server does. Raises ValueError."""
    return _bytes(text)[0]


def canonical_bytes(text: str) -> str:
    """``1024Mi`` → ``1Gi``, ``1000M`` → ``1G``: the largest suffix of the same family that leaves a whole number."""
    whole, family = _bytes(text)
    for name, factor in sorted(family.items(), key=lambda item: -item[1]):
        if whole and whole % factor == 0:
            return f"{whole // factor}{name}"
    return str(whole)


def _bytes(text: str) -> tuple[int, dict[str, int]]:
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount of bytes")
    number, suffix = match.groups()
    family = _BINARY if suffix in _BINARY else _DECIMAL
    return math.ceil(Decimal(number) * family.get(suffix, 1)), family
