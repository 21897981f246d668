"""Variables that mean nothing here but look like one of ours. Pure.

An environment is full of other programs' variables, so nothing is said about a name that is merely unknown.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
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
    right = sorted({*known, *ALIASES.values(), *(name + FILE for name, file in known.items() if file)})
    strangers = (name for name in sorted(set(names).difference(right)) if not _FOREIGN.search(name))
    found = ((name, _meant(name, right)) for name in strangers)
    return tuple(Misspelling(name, meant) for name, meant in found if meant)


def _meant(name: str, right: Sequence[str]) -> str | None:
    if name.removesuffix(FILE) in right:
        return name.removesuffix(FILE)
    shouted = name.upper()
    words = shouted.split("_")
    return next((other for other in right if _same_words(words, other.split("_")) or _typed_for(shouted, other)), None)


def _same_words(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Reordered, or with one left out after the first."""
    if len(words) == len(wanted):
        return sorted(words) == sorted(wanted)
    return 1 < len(words) == len(wanted) - 1 and words[0] == wanted[0] and set(words) < set(wanted)


def _typed_for(name: str, other: str) -> bool:
    """The same but for a slip or two. A slip brings in one character and takes away one at most, which settles nearly
    every pair before their distance is worked out."""
    allowed = 2 if len(other) >= 8 else 1 if len(other) >= 4 else 0
    if len(set(name).symmetric_difference(other)) > 2 * allowed:
        return False
    return distance(name, other, at_most=allowed) <= allowed


def distance(left: str, right: str, *, at_most: int) -> int:
    """Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours; ``at_most + 1`` stands
    for anything larger. Cells farther from the diagonal than that cannot matter and are not looked at."""
    far = at_most + 1
    if abs(len(left) - len(right)) > at_most:
        return far
    last: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        last, before, row = row, last, [far] * (len(right) + 1)
        row[0] = i
        for j in range(max(1, i - at_most), min(len(right), i + at_most) + 1):
            row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != right[j - 1]))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == right[j - 1]:
                row[j] = min(row[j], before[j - 2] + 1)
        # two rows, for a swap reaches over one
        if min(row) > at_most and min(last) > at_most:
            return far
    return min(row[-1], far)
