"""`make up`: from an empty machine to a promoted CclDeployment that wins a lead back."""

import os
from contextlib import nullcontext
from datetime import UTC, datetime

from hack.cluster import current, up
from hack.demo.install import IMAGES, Kubectl, install_demo, install_operator, run_in_cluster, wait_promoted
from hack.images import build_and_load
from hack.prepare import preparing
from hack.run import main_with_errors, progress

NAMESPACE, NAME = "loans", "ccl"


def say(line: str) -> None:
    """One line of progress."""
    print(f"    {line}", flush=True)


def main() -> int:
    """Entry point."""
    # Beside a cluster that is there already it would only be waited for.
    with nullcontext() if current() else preparing(*IMAGES):
        cluster = up()
        images = build_and_load(cluster, IMAGES)
    kubectl = Kubectl(cluster)
    with progress("installing the operator with Helm", usually="10 s"):
        install_operator(cluster, images)
    with progress(f"CclDeployment {NAMESPACE}/{NAME}", usually="30 s"):
        install_demo(kubectl, images, namespace=NAMESPACE, name=NAME)
        ccl = wait_promoted(kubectl, namespace=NAMESPACE, name=NAME, say=say)
    with progress("winning a lead back", usually="10 s"):
        run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        command = ["python", "-m", "hack.demo.story", "--run", run]
        print(run_in_cluster(kubectl, images, namespace=NAMESPACE, job=f"story-{run}", command=command, name=NAME))
    summary(cluster.kubeconfig, cluster.kubectl, ccl)
    return 0


def summary(kubeconfig: os.PathLike[str], kubectl: os.PathLike[str], ccl: dict[str, dict[str, dict[str, str]]]) -> None:
    """What there is now, and what to try next."""
    stable = ccl["status"]["stable"]
    print(f"""
CclDeployment  {NAMESPACE}/{NAME}   {ccl["status"]["phase"]}
revision       {stable["revision"]}  {stable["image"]}
endpoint       {ccl["status"]["endpoint"]} (inside the cluster)

Try next:
  export KUBECONFIG={kubeconfig} PATH={os.path.dirname(kubectl)}:$PATH
  kubectl get ccl -n {NAMESPACE}
  kubectl describe ccl {NAME} -n {NAMESPACE}
  kubectl port-forward -n {NAMESPACE} svc/{NAME} 8080:80 &
  curl -s localhost:8080/health
  .venv/bin/python -m hack.chat --url http://localhost:8080
  kubectl port-forward -n {NAMESPACE} svc/fake-mailgun 8081:80 &    # then open http://localhost:8081/outbox
  make down
""")


if __name__ == "__main__":
    main_with_errors(main)
