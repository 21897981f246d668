"""What the operator is told from outside, once, at start. Pure: reading the process environment is the shell's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self


@dataclass(frozen=True)
class Config:
    """``postgres_images`` and ``backup_images``: major version → full image reference."""

    redis_image: str = ""
    #: Where the operator runs, as far as it runs in the cluster.
    operator_namespace: str = ""
    pgbouncer_image: str = ""
    #: Where docs/runbooks can be read; empty: alerts name the page only.
    runbooks_url: str = ""
    postgres_images: Mapping[int, str] = field(default_factory=dict)
    backup_images: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """From ``CCL_IMAGE_REDIS``, ``CCL_IMAGE_PGBOUNCER``, ``CCL_IMAGE_POSTGRES_<major>``,
        ``CCL_IMAGE_BACKUP_<major>``; ``POD_NAMESPACE``; ``CCL_RUNBOOKS_URL``."""
        return cls(
            redis_image=environment.get("CCL_IMAGE_REDIS", ""),
            operator_namespace=environment.get("POD_NAMESPACE", ""),
            runbooks_url=environment.get("CCL_RUNBOOKS_URL", "").rstrip("/"),
            pgbouncer_image=environment.get("CCL_IMAGE_PGBOUNCER", ""),
            postgres_images=_by_major(environment, "CCL_IMAGE_POSTGRES_"),
            backup_images=_by_major(environment, "CCL_IMAGE_BACKUP_"),
        )


def _by_major(environment: Mapping[str, str], prefix: str) -> Mapping[int, str]:
    found = {
        int(name.removeprefix(prefix)): value
        for name, value in sorted(environment.items())
        if re.fullmatch(re.escape(prefix) + r"\d+", name) and value
    }
    return MappingProxyType(found)
