"""Clusters to plan for, and answers to judge."""

from collections.abc import Callable
from typing import Any

import pytest

from ccl_contract.readiness import ReadinessReport
from tests.unit.operator.samples import MIGRATED, failing
from tests.unit.operator.simulated_cluster import SimulatedCluster


@pytest.fixture
def cluster() -> SimulatedCluster:
    """An empty cluster with a CclDeployment just applied."""
    return SimulatedCluster()


@pytest.fixture
def promoted(cluster: SimulatedCluster) -> SimulatedCluster:
    """A cluster whose first revision has been promoted."""
    cluster.run()
    assert cluster.condition("Promoted") == ("True", "Promoted")
    return cluster


@pytest.fixture(name="failing")
def failing_answer() -> Callable[[str], ReadinessReport]:
    """A gate answer with the failing check MailSender."""
    return failing


@pytest.fixture
def migrated() -> dict[str, Any]:
    """The report of a migration that went well."""
    return dict(MIGRATED)
