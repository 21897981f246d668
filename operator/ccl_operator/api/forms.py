"""The forms of texts that the service or the API server reads later: as patterns, in words, and as checks that know
more. Pure.

Every pattern means the same to RE2, where the CRD's rules are judged, and to Python; none has an apostrophe, so that it
can stand in a rule as it is.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_ANY_LABEL: Final = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_URL_LABEL: Final = "[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?"
_PORT: Final = "(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?"
_HEX: Final = "[0-9A-Fa-f]{1,4}"
#: RFC 4291, section 2.2, without dots: the CEL library for addresses has no bound for the host of a URL.
_IPV6: Final = "|".join(
    (
        f"({_HEX}:){{7}}({_HEX}|:)",
        *(f"({_HEX}:){{1,{8 - n}}}(:{_HEX}){{1,{n - 1}}}" for n in range(2, 8)),
        f":((:{_HEX}){{1,7}}|:)",
        f"({_HEX}:){{1,6}}:",
    )
)
_BRACKETED: Final = rf"\[({_IPV6})\]"

#: In lower case, as an Ingress wants it; the last label begins with a letter, so that no address is taken for a name.
DNS_NAME: Final = f"^({_LABEL}[.])*[a-z]([-a-z0-9]{{0,61}}[a-z0-9])?$"
#: As browsers write it (RFC 6454, section 6.2), or any.
ORIGIN: Final = f"^([*]|https?://({_ANY_LABEL}([.]{_ANY_LABEL})*|{_BRACKETED}){_PORT})$"
#: Without user and fragment: a password does not belong into the specification.
URL: Final = f'^https?://({_URL_LABEL}([.]{_URL_LABEL})*|{_BRACKETED}){_PORT}(/[!-"$-?A-~]*)?$'
_ADDRESS: Final = (
    f"[A-Za-z0-9!#$%&*+/=?^_`{{|}}~-]+([.][A-Za-z0-9!#$%&*+/=?^_`{{|}}~-]+)*@{_ANY_LABEL}([.]{_ANY_LABEL})*"
)
_NAME: Final = r'([^\]\[()<>@,;:"\\\x00-\x1f\x7f]*|"[^"\\\x00-\x1f\x7f]*" ?)'
#: RFC 5322, section 3.4, without comments and escapes.
SENDER: Final = f"^({_ADDRESS}|{_NAME}<{_ADDRESS}>)$"
#: As Go's time.ParseDuration reads it, without fractions, or in days, as the API server also does: ``90s``, ``1h30m``,
#: ``90d``. So many digits that no sum leaves the 292 years that Go counts in.
DURATION: Final = "^([0-9]{1,6}(ms|s|m|h)|[0-9]{1,4}d)+$"
CPU: Final = r"^([0-9]{1,6}m|[0-9]{1,4}(\.[0-9]{1,3})?)$"
#: At most an exbibyte, and so within 64 bits, where the API server counts exactly.
BYTES: Final = r"^([0-9]{1,12}(\.[0-9]{1,3})?(Ki|Mi|k|M)?|[0-9]{1,6}(\.[0-9]{1,3})?(Gi|Ti|G|T))$"
_SUBDOMAIN: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
#: What most objects of Kubernetes may be called. Source: kubernetes.io, "Object Names and IDs".
SUBDOMAIN: Final = f"^{_SUBDOMAIN}$"
#: Key of a label, an annotation or a taint. Source: kubernetes.io, "Labels and Selectors".
LABEL_KEY: Final = f"^({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
LABEL_VALUE: Final = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
SECRET_KEY: Final = "^[-._a-zA-Z0-9]+$"  # noqa: S105 - a pattern
VARIABLE: Final = "^[A-Za-z_][A-Za-z0-9_]*$"
CHECK: Final = "^[A-Z][A-Za-z0-9]{0,62}$"
NAMESPACE: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_PATH_PART: Final = "[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*"
#: Source: github.com/distribution/reference, the grammar.
IMAGE: Final = (
    f"^({_ANY_LABEL}([.]{_ANY_LABEL})*(:[0-9]{{1,5}})?/)?{_PATH_PART}(/{_PATH_PART})*"
    "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
TIME_ZONE: Final = "^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"


def _cron_field(number: str) -> str:
    entry = f"([*]|({number})(-({number}))?)(/[1-9][0-9]?)?"
    return f"{entry}(,{entry})*"


def _any_case(words: str) -> str:
    return "|".join("".join(f"[{letter}{letter.lower()}]" for letter in word) for word in words.split())


_CRON_FIELDS: Final = (
    "[0-5]?[0-9]",
    "[01]?[0-9]|2[0-3]",
    "0?[1-9]|[12][0-9]|3[01]",
    f"0?[1-9]|1[0-2]|{_any_case('JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC')}",
    f"[0-6]|{_any_case('SUN MON TUE WED THU FRI SAT')}",
)
#: What both the CronJob controller and cronsim read alike: no ``?``, ``L``, ``#``, no Sunday called 7.
CRON: Final = f"^{' +'.join(map(_cron_field, _CRON_FIELDS))}$"
#: Pattern of a field → what a text without this form is told, behind "must be".
WORDS: Final[Mapping[str, str]] = {
    DURATION: "a duration of whole numbers with ms, s, m, h or d, such as 90s, 1h30m or 90d",
    CPU: "an amount of CPU in cores or thousandths of one, such as 2, 0.5 or 500m",
    BYTES: "an amount of bytes, such as 512Mi, 1.5Gi or 500M, of less than an exbibyte",
    SUBDOMAIN: "a name of lower case letters, digits, - and ., with a letter or digit at both ends of each part",
    LABEL_KEY: "a name of letters, digits, -, _ and . with at most 63 characters, perhaps behind a DNS name and a /",
    LABEL_VALUE: "letters, digits, -, _ and ., with a letter or digit at both ends",
    SECRET_KEY: "letters, digits, -, _ and .",
    VARIABLE: "letters, digits and _, with no digit at the beginning",
    CHECK: "the id of a check: letters and digits, with a capital letter at the beginning",
    NAMESPACE: "lower case letters, digits and -, with a letter or digit at both ends",
    IMAGE: "an image reference, such as registry.example/ccl-service:1.4.0, perhaps with @sha256: and 64 hex digits",
}
_ANY_DAY: Final = datetime(2030, 1, 1)  # noqa: DTZ001 - whether there is a time at all depends on no zone


def cel_matches(value: str, pattern: str) -> str:
    """CEL for ``value`` (an expression) having a form."""
    return f"{value}.matches(r'{pattern}')"


def cel_network(value: str) -> str:
    """CEL: ``value`` is a network without host bits, or one address."""
    return f"(isCIDR({value}) ? cidr({value}) == cidr({value}).masked() : isIP({value}))"


def has_form(text: str, pattern: str) -> bool:
    """Whether the whole text has the form."""
    return re.fullmatch(pattern, text) is not None


def is_network(text: str) -> bool:
    """A network without host bits, or one address."""
    return _parses(ipaddress.ip_network, text)


def is_block(text: str) -> bool:
    """What a NetworkPolicy takes: a network with the length of its prefix."""
    return "/" in text and is_network(text)


@lru_cache(maxsize=256)
def is_schedule(text: str) -> bool:
    """A cron expression that names a time."""
    try:
        next(CronSim(text, _ANY_DAY))
    except (CronSimError, StopIteration):
        return False
    return has_form(text, CRON)


def is_time_zone(text: str) -> bool:
    """A name of the IANA database."""
    # What is no zone raises KeyError; a folder, or a file of another kind, one of the others.
    return has_form(text, TIME_ZONE) and _parses(ZoneInfo, text, (KeyError, ValueError, OSError))


def _parses(parse: Callable[[str], object], text: str, complaints: tuple[type[Exception], ...] = (ValueError,)) -> bool:
    try:
        parse(text)
    except complaints:
        return False
    return True
