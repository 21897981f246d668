"""Which tests belong to one process when several run them: those that share servers, or a cluster.

Unit tests share nothing but their module.
"""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put every test into its group."""
    for item in items:
        place = item.path.relative_to(HERE)
        item.add_marker(pytest.mark.xdist_group(str(place) if place.parts[0] == "unit" else place.parts[0]))
