"""The command itself, twice: the second time nothing is made or written again."""

from collections.abc import Iterator

import pytest

from hack import up
from tests.e2e.system import System


@pytest.fixture
def demo(system: System) -> Iterator[System]:
    """The system, without the demo afterwards unless it was there before."""
    was_there = system.kubectl.attempt("get", "ccl", up.NAME, "-n", up.NAMESPACE).returncode == 0
    yield system
    if not was_there:
        system.kubectl("delete", "namespace", up.NAMESPACE, "--wait=false")


def test_make_up_wins_a_lead_back_and_doing_it_again_changes_nothing(
    demo: System, capsys: pytest.CaptureFixture[str]
) -> None:
    assert up.main() == 0
    first = capsys.readouterr().out
    before = demo.kubectl.get(up.NAMESPACE, "ccl", up.NAME)
    writes = demo.operator_writes(up.NAMESPACE)

    assert up.main() == 0

    second = capsys.readouterr().out
    after = demo.kubectl.get(up.NAMESPACE, "ccl", up.NAME)
    for printed in (first, second):
        assert "the lead is now engaged" in printed
        assert f"revision       {after['status']['stable']['revision']}" in printed
        assert f"kubectl get ccl -n {up.NAMESPACE}" in printed
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert demo.operator_writes(up.NAMESPACE) == writes
