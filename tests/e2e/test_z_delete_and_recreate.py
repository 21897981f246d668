"""Deleting the object keeps data and keys, and a new object of the same name takes them up again."""

from tests.e2e.system import Deployed, until

OURS = {"app.kubernetes.io/managed-by": "ccl-operator"}
KEPT_SECRETS = {"ccl-keys", "ccl-postgres"}
GONE = "deployments,statefulsets,services,serviceaccounts,configmaps,jobs,cronjobs,pdb,pods,controllerrevisions"


def leads(ccl: Deployed) -> int:
    return int(ccl.psql("SELECT count(*) FROM leads"))


def keys(ccl: Deployed) -> dict[str, str]:
    return dict(ccl.system.kubectl.get(ccl.namespace, "secret", f"{ccl.name}-keys")["data"])


def named(ccl: Deployed, kind: str) -> set[str]:
    return {found["metadata"]["name"] for found in ccl.list(kind, **OURS)}


def test_data_and_keys_outlive_the_object_and_are_taken_up_again(ccl: Deployed) -> None:
    kubectl, namespace = ccl.system.kubectl, ccl.namespace
    count, held, uid = leads(ccl), keys(ccl), ccl.get()["metadata"]["uid"]
    assert count > 0

    kubectl("delete", "ccl", ccl.name, "-n", namespace)
    until("all that can be made again is gone", lambda: not ccl.list(GONE, **OURS), 180)
    until("all other Secrets are gone", lambda: named(ccl, "secrets") == KEPT_SECRETS)
    assert len(ccl.list("pvc")) == 2

    kubectl.apply(ccl.manifest())
    ccl.wait_condition("Promoted", "True", 300)
    assert ccl.get()["metadata"]["uid"] != uid
    assert leads(ccl) == count
    assert keys(ccl) == held
