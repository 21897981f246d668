"""The end of an X.509 certificate's validity, from its DER form. Pure.

The standard library shows the fields of verified certificates only, and it is the expired one that matters here.
Source: RFC 5280, sections 4.1 and 4.1.2.5; X.690 for tags and lengths.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_SEQUENCE, _EXPLICIT_0, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_FORMATS: Final = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}


class CertificateUnreadable(ValueError):
    """The bytes are no certificate."""


@dataclass(frozen=True, slots=True)
class _Field:
    tag: int
    content: bytes
    rest: bytes


def not_after(der: bytes) -> datetime:
    """When the certificate ends, in UTC. Raises CertificateUnreadable."""
    tbs = _field(_field(der, _SEQUENCE).content, _SEQUENCE).content
    current = _field(tbs)
    if current.tag == _EXPLICIT_0:  # the version; absent in version 1
        current = _field(current.rest)
    for _ in range(3):  # past serialNumber, signature and issuer
        current = _field(current.rest)
    if current.tag != _SEQUENCE:
        raise CertificateUnreadable("no validity")
    return _time(_field(_field(current.content).rest))


def _time(field: _Field) -> datetime:
    form = _FORMATS.get(field.tag)
    try:
        found = datetime.strptime(field.content.decode("ascii"), form or "").replace(tzinfo=UTC)
    except ValueError as exc:
        raise CertificateUnreadable("no time") from exc
    # RFC 5280: two-digit years from 50 on are of the twentieth century; strptime turns at 69
    return found.replace(year=found.year - 100) if field.tag == _UTC_TIME and found.year >= 2050 else found


def _field(data: bytes, tag: int | None = None) -> _Field:
    if len(data) < 2 or (tag is not None and data[0] != tag):
        raise CertificateUnreadable("not DER")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start])
    if start > 6 or start + length > len(data):
        raise CertificateUnreadable("cut off")
    return _Field(data[0], data[start : start + length], data[start + length :])
