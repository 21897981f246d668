"""A candidate that has not proven itself gets no traffic, and the stable revision answers all the while."""

from typing import Any

from tests.e2e.system import Deployed, until

REVISION = "ccl.completecarloans.com/revision"


def events(ccl: Deployed, reason: str) -> list[dict[str, Any]]:
    listed = ccl.system.kubectl.get(ccl.namespace, "events", "--field-selector", f"involvedObject.name={ccl.name}")
    return [event for event in listed["items"] if event["reason"] == reason]


def test_a_published_default_key_is_refused_before_any_pod_is_made(ccl: Deployed) -> None:
    stable = ccl.get()["status"]["stable"]["revision"]
    bad = ("create", "secret", "generic", "published", "-n", ccl.namespace)
    ccl.system.kubectl(*bad, "--from-literal=key=ccl-internal-2025")
    with ccl.traffic() as traffic:
        ccl.patch(
            {"secrets": {"internalApiKey": {"generate": None, "secretKeyRef": {"name": "published", "key": "key"}}}}
        )
        refused = ccl.wait_condition("SecretsValid", "False")
        totals = traffic.settled()
    assert refused["reason"] == "SecretsInvalid"
    assert "INTERNAL_API_KEY" in refused["message"]
    assert "ccl-internal-2025" not in str(ccl.get()["status"])
    assert ccl.wait_condition("Promoted", "False")["reason"] == "SecretsInvalid"
    assert ccl.wait_condition("Ready", "True")
    pods = ccl.list("pods", **{"app.kubernetes.io/component": "web"})
    assert {pod["metadata"]["labels"][REVISION] for pod in pods} == {stable}
    assert (totals["failed"], totals["errors"]) == (0, [])
    assert set(totals["revisions"]) == {stable}
    assert events(ccl, "SecretsInvalid")


def test_an_image_whose_readiness_check_fails_is_aborted_and_sends_no_mail(ccl: Deployed) -> None:
    stable = ccl.get()["status"]["stable"]["revision"]
    jobs_replicas: set[int] = set()
    roles: set[str] = set()

    def candidate_stalled() -> bool:
        for deployment in ccl.list("deployments", **{"app.kubernetes.io/component": "jobs"}):
            if deployment["metadata"]["labels"][REVISION] != stable:
                jobs_replicas.add(deployment["spec"]["replicas"])
        # Each process reports itself and its role: only those with another role than web claim what is to be sent.
        candidate = ccl.get()["status"].get("candidate", {}).get("revision")
        roles.update(ccl.psql(f"SELECT role FROM instances WHERE revision = '{candidate}'").split())
        return bool(ccl.get()["status"]["conditions"]) and any(
            c["type"] == "Stalled" and c["status"] == "True" for c in ccl.get()["status"]["conditions"]
        )

    with ccl.traffic(rate=200) as traffic:
        ccl.patch({"image": ccl.system.images["ccl-service-unready"]})
        until("the candidate is aborted", candidate_stalled, 300)
        totals = traffic.settled()
    stalled = ccl.wait_condition("Stalled", "True")
    promoted = ccl.wait_condition("Promoted", "False")
    assert promoted["reason"] == stalled["reason"] == "AlwaysUnready"
    assert ccl.wait_condition("Ready", "True")
    assert ccl.get()["status"]["stable"]["revision"] == stable
    assert (totals["failed"], totals["errors"]) == (0, [])
    assert set(totals["revisions"]) == {stable}
    assert (jobs_replicas, roles) == ({0}, {"web"})
    assert events(ccl, "AlwaysUnready")
    until(
        "the candidate's pods are gone",
        lambda: (
            {pod["metadata"]["labels"][REVISION] for pod in ccl.list("pods", **{"app.kubernetes.io/component": "web"})}
            == {stable}
        ),
    )
