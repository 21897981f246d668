"""Where one operator works, and as who."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """``namespaces`` empty: all. ``identity``: of this process alone."""

    namespaces: tuple[str, ...]
    lease_namespace: str
    lease: str
    identity: str

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """What has to be listed and watched one by one; None: all namespaces at once."""
        return self.namespaces or (None,)
