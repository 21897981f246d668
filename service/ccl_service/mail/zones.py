"""In which time zones a person may be, from ZIP code and phone number. Pure.

The two may disagree (people move and keep their number); both are then possible, and quiet hours respect both.
"""

from collections.abc import Iterable
from typing import Final

import phonenumbers
from phonenumbers import timezone

_E, _C, _M, _P = "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"
_AZ, _AK, _HI = "America/Phoenix", "America/Anchorage", "Pacific/Honolulu"

#: Where nothing is known: anywhere in the fifty states.
ANYWHERE: Final = frozenset({_E, _C, _M, _P, _AK, _HI})

#: First three digits of ZIP codes, first and last of each range, and the zones of that area (USPS Publication 65
#: prefixes; zone borders of 49 CFR 71). Areas that a border cuts have both. Later rows win over earlier ones.
_RANGES: Final = (
    (5, 5, (_E,)),
    (6, 9, ("America/Puerto_Rico",)),
    (10, 89, (_E,)),
    (100, 339, (_E,)),
    (324, 325, (_C,)),
    (341, 349, (_E,)),
    (350, 397, (_C,)),
    (373, 374, (_E, _C)),
    (376, 379, (_E,)),
    (398, 418, (_E,)),
    (420, 424, (_C,)),
    (425, 427, (_E, _C)),
    (430, 499, (_E,)),
    (463, 464, (_C,)),
    (465, 466, (_E, _C)),
    (475, 479, (_E, _C)),
    (498, 499, (_E, _C)),
    (500, 574, (_C,)),
    (575, 577, (_C, _M)),
    (580, 588, (_C,)),
    (586, 588, (_C, _M)),
    (590, 599, (_M,)),
    (600, 693, (_C,)),
    (677, 679, (_C, _M)),
    (690, 691, (_C, _M)),
    (692, 693, (_M,)),
    (700, 799, (_C,)),
    (797, 799, (_C, _M)),
    (800, 834, (_M,)),
    (835, 835, (_M, _P)),
    (836, 837, (_M,)),
    (838, 838, (_P,)),
    (840, 847, (_M,)),
    (850, 865, (_AZ,)),
    (860, 865, (_AZ, _M)),
    (870, 885, (_M,)),
    (889, 961, (_P,)),
    (898, 898, (_M, _P)),
    (967, 968, (_HI,)),
    (969, 969, ("Pacific/Guam",)),
    (970, 994, (_P,)),
    (979, 979, (_M, _P)),
    (995, 999, (_AK,)),
)


def zones_of_zip(zip_code: str) -> frozenset[str]:
    """Zones of a five-digit ZIP code; empty for one that says nothing (military post)."""
    prefix = int(zip_code[:3])
    found = [zones for first, last, zones in _RANGES if first <= prefix <= last]
    return frozenset(found[-1]) if found else frozenset()


def zones_of_phone(phone: str) -> frozenset[str]:
    """Zones of an E.164 number; empty when the number says nothing."""
    zones: Iterable[str] = timezone.time_zones_for_number(phonenumbers.parse(phone, None))
    return frozenset(zones) - {timezone.UNKNOWN_TIMEZONE}


def zones_of(zip_code: str | None, phone: str | None) -> frozenset[str]:
    """Every zone the person may be in; all of the United States when nothing is known."""
    known = (zones_of_zip(zip_code) if zip_code else frozenset()) | (zones_of_phone(phone) if phone else frozenset())
    return known or ANYWHERE
