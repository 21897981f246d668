"""Which way to a cluster is taken on which machine."""

from dataclasses import replace

import pytest

from hack.cluster import memory
from hack.cluster.choice import Machine, decide
from hack.run import Failure

BARE = Machine(wish="", docker_answers=False, system="Linux", root=True)


def test_a_linux_machine_with_root_and_without_docker_gets_the_native_node():
    assert decide(BARE).way == "native"


def test_a_docker_daemon_that_answers_is_preferred():
    assert decide(replace(BARE, docker_answers=True)).way == "kind"


def test_an_existing_cluster_is_taken_only_when_asked_for():
    assert decide(replace(BARE, wish="existing", docker_answers=True)).way == "existing"


def test_the_native_node_can_be_asked_for_where_docker_answers():
    assert decide(replace(BARE, wish="native", docker_answers=True)).way == "native"


@pytest.mark.parametrize(
    ("machine", "fix"),
    [
        (replace(BARE, root=False), "start Docker, or run as root"),
        (replace(BARE, system="Darwin"), "install and start Docker"),
        (replace(BARE, wish="kind"), "start Docker"),
        (replace(BARE, wish="minikube"), "existing, kind or native"),
        (replace(BARE, wish="kind", docker_answers=True, present="native"), "make down"),
    ],
)
def test_a_machine_without_a_way_is_refused_with_the_fix(machine, fix):
    with pytest.raises(Failure) as refused:
        decide(machine)
    assert fix in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("wish", ["", "native"])
def test_the_cluster_that_is_there_is_kept_also_when_docker_answers_since(wish):
    assert decide(replace(BARE, wish=wish, docker_answers=True, present="native")).way == "native"


def test_the_way_is_remembered_until_the_cluster_is_gone(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert memory.remembered() is None
    memory.remember("kind")
    assert memory.remembered() == "kind"
    memory.forget()
    assert memory.remembered() is None


def test_every_choice_tells_its_reason():
    assert all(decide(replace(BARE, docker_answers=docker)).reason for docker in (True, False))
