"""The whole route table of a process: the platform's own rows, the features', and those that describe them all."""

from collections.abc import Iterable

from ccl_service.platform import assets, description, monitoring, moving
from ccl_service.platform.route import Route


def whole_table(features: Iterable[Route], *, metrics_enabled: bool = True) -> tuple[Route, ...]:
    """Every row. Without metrics the views that show them are absent."""
    return (
        *monitoring.routes(metrics_enabled=metrics_enabled),
        *moving.ROUTES,
        *features,
        *description.ROUTES,
        *assets.ROUTES,
    )
