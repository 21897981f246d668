"""How long `make up` waits for the object, and when it gives up or tries again."""

import json
import subprocess
from dataclasses import dataclass, field
from typing import Any

import pytest

from hack.demo.install import install_demo, wait_promoted
from hack.run import Failure

IMAGES = {"ccl-fakes": "fakes:1", "ccl-service": "service:1"}


def ccl(phase: str, **conditions: str) -> dict[str, Any]:
    """An object whose conditions are given as ``Kind="Status Reason"``."""
    told = [
        {"type": kind, "status": text.split()[0], "reason": text.split()[-1], "message": "why", "observedGeneration": 1}
        for kind, text in conditions.items()
    ]
    return {"metadata": {"generation": 1}, "status": {"phase": phase, "conditions": told}}


@dataclass
class Cluster:
    """kubectl of a cluster whose object goes through these states, one a look."""

    states: list[dict[str, Any]]
    commands: list[tuple[str, ...]] = field(default_factory=list)

    def get(self, *_: str) -> dict[str, Any]:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def attempt(self, *_: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess((), 0, json.dumps(self.get()))

    def apply(self, manifests: str) -> None:
        self.commands.append(("apply",))

    def __call__(self, *command: str) -> str:
        self.commands.append(command)
        return ""


PROMOTED = ccl("Ready", Ready="True", Promoted="True")


def wait(cluster: Any, **options: Any) -> dict[str, Any]:
    return wait_promoted(cluster, namespace="loans", say=lambda _: None, every=0, **options)


def test_an_object_that_is_ready_and_promoted_is_waited_for():
    assert wait(Cluster([ccl("Progressing"), PROMOTED])) == PROMOTED


def test_an_object_that_has_given_up_ends_the_wait_with_its_own_words_and_a_fix():
    with pytest.raises(Failure, match=r"stalled \(MailgunKeys\): why; fix: `kubectl describe ccl"):
        wait(Cluster([ccl("Stalled", Stalled="True MailgunKeys")]))


def test_a_database_that_is_slow_to_come_is_waited_for():
    assert wait(Cluster([ccl("Stalled", Stalled="True PreparingDeadlineExceeded"), PROMOTED])) == PROMOTED


def test_the_wait_ends_with_what_the_object_said_last():
    with pytest.raises(Failure, match=r"not promoted within 0 s \(Progressing\)"):
        wait(Cluster([ccl("Progressing")]), timeout=0.01)


def test_what_an_earlier_run_left_aborted_is_tried_again():
    stalled: Any = Cluster([ccl("Stalled", Stalled="True CheckingDeadlineExceeded")])
    install_demo(stalled, IMAGES, namespace="loans")
    assert stalled.commands[-1][0] == "patch"


def test_a_healthy_object_is_only_applied():
    healthy: Any = Cluster([PROMOTED])
    install_demo(healthy, IMAGES, namespace="loans")
    assert {command[0] for command in healthy.commands} == {"apply"}
