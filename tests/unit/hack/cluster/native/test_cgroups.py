"""The node's processes are found through its control groups, on both versions of them."""

import pytest

from hack.cluster.native import cgroups
from hack.run import Failure


def group(place, *pids):
    place.mkdir(parents=True, exist_ok=True)
    (place / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    return place


@pytest.fixture
def version_1(tmp_path):
    for tree in ("cpu", "memory"):
        group(tmp_path / tree, 1)
    (tmp_path / "cpuacct").symlink_to("cpu")
    return tmp_path


@pytest.fixture
def version_2(tmp_path):
    group(tmp_path, 1)
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    return tmp_path


def test_every_tree_of_version_1_is_found_once(version_1):
    assert [tree.name for tree in cgroups.trees(version_1)] == ["cpu", "memory"]


def test_version_2_is_one_tree(version_2):
    assert cgroups.trees(version_2) == (version_2,)


def test_members_are_all_processes_below_the_groups_and_no_others(version_1):
    group(version_1 / "cpu" / "ccl-cluster" / "programs", 10)
    group(version_1 / "memory" / "ccl-cluster" / "kubepods" / "pod1", 11, 12)
    group(version_1 / "memory" / "kubepods", 99)
    assert cgroups.members(version_1) == {10, 11, 12}


def test_a_process_of_another_pid_namespace_that_shows_as_zero_is_left_out(version_2):
    group(version_2 / "ccl-cluster" / "programs", 0, 5)
    assert cgroups.members(version_2) == {5}


def test_without_the_node_there_are_no_members(version_1):
    assert cgroups.members(version_1) == frozenset()


def test_a_machine_without_control_groups_is_refused(tmp_path):
    with pytest.raises(Failure, match="no control groups"):
        cgroups.trees(tmp_path)
