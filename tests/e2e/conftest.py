"""One real cluster for all end-to-end tests, with the operator installed and one CclDeployment running.

A cluster that was already up is used and left alone; one that these tests brought up is taken down at the end.
"""

from collections.abc import Iterator
from functools import partial

import pytest

from hack import cluster as clusters
from hack.demo.install import IMAGES, Kubectl, install_demo, install_operator, wait_promoted
from hack.images import build_and_load
from hack.images.catalog import UNREADY
from tests.e2e.system import NAME, NAMESPACE, Deployed, System


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """A cluster with our images and the operator on it."""
    found = clusters.current()
    cluster = found or clusters.up()
    try:
        images = build_and_load(cluster, (*IMAGES, UNREADY))
        install_operator(cluster, images)
        kubectl = Kubectl(cluster)
        yield System(cluster, kubectl, images, ours=found is None)
        if clusters.current():
            kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
    finally:
        if not found:
            clusters.down()


@pytest.fixture(scope="session")
def first(system: System) -> Deployed:
    """The demo's CclDeployment in a namespace of its own, promoted for the first time."""
    system.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=180)
    install_demo(system.kubectl, system.images, namespace=NAMESPACE, name=NAME)
    wait_promoted(system.kubectl, namespace=NAMESPACE, name=NAME, say=partial(print, flush=True))
    return Deployed(system, NAMESPACE, NAME)


@pytest.fixture
def ccl(first: Deployed) -> Iterator[Deployed]:
    """The same object, as the demo's manifest describes it; put back to that after the test."""
    yield first
    first.restore()
