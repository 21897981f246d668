"""What the operator is told from outside, once, at start. Pure: reading the process environment is the shell's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

WRITES: Final = "CCL_API_WRITES_PER_SECOND"
READS: Final = "CCL_API_READS_PER_SECOND"
#: Requests per second; more is hardly meant.
FASTEST: Final = 1_000


class InvalidConfig(ValueError):
    """A variable of the environment has no such meaning. The message names it and says what is allowed."""


@dataclass(frozen=True)
class Pace:
    """At most so many requests to the API server per second."""

    writes: float = 50.0
    reads: float = 100.0

    @property
    def events(self) -> float:
        """Beside the writes: what is only told must not hold up what is done."""
        return self.writes / 5


@dataclass(frozen=True)
class Config:
    """``postgres_images`` and ``backup_images``: major version → full image reference."""

    redis_image: str = ""
    #: Where the operator runs, as far as it runs in the cluster.
    operator_namespace: str = ""
    pgbouncer_image: str = ""
    #: Where docs/runbooks can be read; empty: alerts name the page only.
    runbooks_url: str = ""
    pace: Pace = Pace()
    postgres_images: Mapping[int, str] = field(default_factory=dict)
    backup_images: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """From ``CCL_IMAGE_REDIS``, ``CCL_IMAGE_PGBOUNCER``, ``CCL_IMAGE_POSTGRES_<major>``,
        ``CCL_IMAGE_BACKUP_<major>``; ``POD_NAMESPACE``; ``CCL_RUNBOOKS_URL``; ``CCL_API_WRITES_PER_SECOND``,
        ``CCL_API_READS_PER_SECOND``. Raises InvalidConfig."""
        return cls(
            redis_image=environment.get("CCL_IMAGE_REDIS", ""),
            operator_namespace=environment.get("POD_NAMESPACE", ""),
            runbooks_url=environment.get("CCL_RUNBOOKS_URL", "").rstrip("/"),
            pace=Pace(
                writes=_rate(environment, WRITES, usual=Pace.writes), reads=_rate(environment, READS, usual=Pace.reads)
            ),
            pgbouncer_image=environment.get("CCL_IMAGE_PGBOUNCER", ""),
            postgres_images=_by_major(environment, "CCL_IMAGE_POSTGRES_"),
            backup_images=_by_major(environment, "CCL_IMAGE_BACKUP_"),
        )


def _rate(environment: Mapping[str, str], name: str, *, usual: float) -> float:
    text = environment.get(name, "")
    if not text:
        return usual
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= FASTEST:
        allowed = f"a whole number from 1 to {FASTEST}; without it {usual:.0f} is meant"
        raise InvalidConfig(f"the environment variable {name} must be {allowed}")
    return float(text)


def _by_major(environment: Mapping[str, str], prefix: str) -> Mapping[int, str]:
    found = {
        int(name.removeprefix(prefix)): value
        for name, value in sorted(environment.items())
        if re.fullmatch(re.escape(prefix) + r"\d+", name) and value
    }
    return MappingProxyType(found)
