"""Histograms of durations in logarithmic buckets: small, mergeable, with a known error. Pure.

Bucket i holds the values in (FINEST·γ^(i-1), FINEST·γ^i]; a quantile is answered with the value in the middle of its
bucket, which is at most ``ERROR`` away from every value in there (Masson, Rim, Lee: DDSketch, VLDB 2019).
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

#: Relative error of a quantile, for values between ``FINEST`` and ``COARSEST`` seconds; others count as the nearer one.
ERROR: Final = 0.02
FINEST: Final = 1e-5
COARSEST: Final = 3600.0

_GAMMA: Final = (1 + ERROR) / (1 - ERROR)
_SCALE: Final = 1 / math.log(_GAMMA)
_LOWEST: Final = math.log(FINEST) * _SCALE
_LAST: Final = math.ceil(math.log(COARSEST) * _SCALE - _LOWEST)


class LogHistogram:
    """Counts by bucket. ``add`` is on the path of every request."""

    __slots__ = ("counts", "total")

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})
        self.total = sum(self.counts.values())

    def add(self, seconds: float) -> None:
        """Count one duration."""
        bucket = math.ceil(math.log(seconds) * _SCALE - _LOWEST) if seconds > FINEST else 0
        bucket = min(bucket, _LAST)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += 1

    def merge(self, other: "LogHistogram") -> None:
        """Take the other's counts in; the result is as if all values had been added here."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total

    def quantile(self, fraction: float) -> float | None:
        """The nearest-rank quantile in seconds, within ``ERROR``; None when nothing was counted."""
        if not self.total:
            return None
        rank = max(1, math.ceil(fraction * self.total))
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return _middle(bucket)
        raise AssertionError("total is the sum of the counts")

    def as_pairs(self) -> list[list[int]]:
        """``[[bucket, count], …]`` in order, for JSON."""
        return [[bucket, self.counts[bucket]] for bucket in sorted(self.counts)]

    @classmethod
    def from_pairs(cls, pairs: Iterable[Iterable[int]]) -> "LogHistogram":
        """The inverse of ``as_pairs``."""
        found: dict[int, int] = {}
        for bucket, count in pairs:
            found[bucket] = found.get(bucket, 0) + count
        return cls(found)


def _middle(bucket: int) -> float:
    """The value whose relative distance to both ends of the bucket is the same."""
    return FINEST if bucket == 0 else FINEST * 2 * math.exp(bucket / _SCALE) / (_GAMMA + 1)
