"""What kubectl makes of a CclDeployment: its columns, its explanations, its waiting."""

import re
import subprocess

import pytest

from ccl_operator import names
from hack.cluster import build
from hack.cluster.apiserver import ADMIN
from tests.operator.api.conftest import NAMESPACE
from tests.operator.operator_process import until
from tests.unit.operator.samples import SPEC
from tests.unit.operator.simulated_cluster import SimulatedCluster

NAME = "shown"


@pytest.fixture(scope="module")
def kubectl(server):
    """Runs kubectl as the administrator; the finished process."""
    program, kubeconfig = build.kubectl_binary(), server.kubeconfig_for(ADMIN.name)

    def run(*arguments):
        command = [str(program), "--kubeconfig", str(kubeconfig), "-n", NAMESPACE, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="module")
def shown(rest):
    """A CclDeployment that is promoted, with the status that the operator gives it; writes another one."""
    cluster = SimulatedCluster()
    cluster.run()
    code, answer = rest.create(NAME, cluster.spec, dry_run=False)
    assert code == 201, answer["message"]

    def write(status):
        manifest = {key: value for key, value in rest.manifest(NAME, {}).items() if key != "spec"}
        target = f"{rest.path()}/{NAME}/status?fieldManager={names.FIELD_MANAGER}&force=true"
        code, answer = rest.request("PATCH", target, manifest | {"status": status}, "application/apply-patch+yaml")
        assert code == 200, answer["message"]

    write(cluster.status)
    return cluster, write


@pytest.fixture
def table(kubectl, shown):
    """Column → cell of the one object."""

    def read(*options):
        done = kubectl("get", "ccl", NAME, *options)
        assert done.returncode == 0, done.stderr
        head, row = done.stdout.splitlines()
        starts = [name.start() for name in re.finditer(r"\S+", head)]
        ends = [*starts[1:], len(row) + 1]
        return {head[a:b].strip(): row[a:b].strip() for a, b in zip(starts, ends, strict=True)}

    return read


def test_a_line_says_whether_it_serves_as_asked_and_why_not(table):
    row = table()
    row.pop("AGE")
    assert row == {
        "NAME": NAME,
        "PHASE": "Ready",
        "READY": "2",
        "DESIRED": "2",
        "REASON": "Promoted",
        "IMAGE": SPEC["image"],
        "BACKUP": "",
    }


def test_a_wide_line_tells_the_rollout_and_the_message_too(table, shown):
    row = table("-o", "wide")
    assert (row["ROLLOUT"], row["CANDIDATE"], row["MESSAGE"]) == ("Idle", "", shown[0].status["message"])


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("spec", "Web pods; with autoscaling it is set from there."),
        ("spec.database.pooler", "Connections to the database that each PgBouncer pod keeps at most."),
        ("spec.promotion.minReady", "How long each new pod must have been ready."),
        ("status.conditions", "Why, and what to do, for people."),
    ],
)
def test_explain_says_what_a_field_is_for(kubectl, field, said):
    # What the API server publishes of a new CRD comes a moment later.
    until("it is published", lambda: kubectl("explain", f"ccl.{field}").returncode == 0)
    told = " ".join(kubectl("explain", f"ccl.{field}").stdout.split())
    assert said in told
    assert names.OWNER.kind in told


def with_ready(told, **changes):
    """A status with its condition Ready changed."""
    conditions = [each | changes if each["type"] == "Ready" else each for each in told["conditions"]]
    return told | {"conditions": conditions}


def test_waiting_for_ready_ends_when_it_is_and_not_before(kubectl, shown):
    cluster, write = shown
    write(with_ready(cluster.status, status="False", reason="PodsNotReady"))
    waiting = kubectl("wait", "--for=condition=Ready", f"ccl/{NAME}", "--timeout=1s")
    assert waiting.returncode == 1
    assert "timed out" in waiting.stderr
    write(cluster.status)
    assert kubectl("wait", "--for=condition=Ready", f"ccl/{NAME}", "--timeout=30s").returncode == 0


def test_waiting_takes_no_word_about_an_older_specification(kubectl, rest, shown):
    cluster, write = shown
    query = f"{rest.path()}/{NAME}?fieldManager=somebody"
    code, answer = rest.request("PATCH", query, {"spec": {"replicas": 1}}, "application/merge-patch+json")
    assert code == 200, answer["message"]
    assert kubectl("wait", "--for=condition=Ready", f"ccl/{NAME}", "--timeout=1s").returncode == 1
    write(with_ready(cluster.status, observedGeneration=answer["metadata"]["generation"]))
    assert kubectl("wait", "--for=condition=Ready", f"ccl/{NAME}", "--timeout=30s").returncode == 0
