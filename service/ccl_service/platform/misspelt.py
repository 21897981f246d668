"""Variables that mean nothing here but look like one of ours. Pure.

An environment is full of other programs' variables, so nothing is said about a name that is merely unknown.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from ccl_service.platform.config_sources import ALIASES, Misspelling

FILE: Final = "_FILE"
#: Read by the libraries themselves, or put into every pod by Kubernetes for each Service in its namespace
#: (kubernetes.io, "Discovering services").
_FOREIGN: Final = re.compile(r"^(OTEL_|KUBERNETES_)|_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?$")


def misspellings(names: Iterable[str], known: Mapping[str, bool]) -> tuple[Misspelling, ...]:
    """What each name that looks like a known one should probably have been, by name.

    ``known``: variable → whether it may be told as ``NAME_FILE``.
    """
    right = {*known, *ALIASES.values(), *(name + FILE for name, file in known.items() if file)}
    found = ((name, _meant(name, right)) for name in sorted(names) if name not in right)
    return tuple(Misspelling(name, meant) for name, meant in found if meant)


def _meant(name: str, right: Iterable[str]) -> str | None:
    if _FOREIGN.search(name):
        return None
    if name.removesuffix(FILE) in right:
        return name.removesuffix(FILE)
    return next((other for other in sorted(right) if _near(name, other)), None)


def _near(name: str, other: str) -> bool:
    """Whether one was probably typed for the other: other case, a typo or two, the same words reordered or one left
    out."""
    if name.upper() == other:
        return True
    words, wanted = name.upper().split("_"), other.split("_")
    if sorted(words) == sorted(wanted):
        return True
    if len(words) > 1 and len(wanted) - len(words) == 1 and words[0] == wanted[0] and set(words) < set(wanted):
        return True
    allowed = 2 if len(other) >= 8 else 1 if len(other) >= 4 else 0
    return distance(name.upper(), other, at_most=allowed) <= allowed


def distance(left: str, right: str, *, at_most: int) -> int:
    """Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours. More than ``at_most``
    may be reported as ``at_most + 1``."""
    if abs(len(left) - len(right)) > at_most:
        return at_most + 1
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        last, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
