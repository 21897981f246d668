"""The operator's chart: what it renders, what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from ccl_operator.runtime import rbac
from tests.charts.conftest import CHARTS, HelmRefused, Render

Objects = list[dict[str, Any]]


def of_kind(objects: Objects, kind: str) -> Objects:
    """Those of one kind."""
    return [each for each in objects if each["kind"] == kind]


def container(objects: Objects) -> dict[str, Any]:
    """The operator's container."""
    (deployment,) = of_kind(objects, "Deployment")
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(objects: Objects) -> dict[str, str]:
    """Its plain variables."""
    return {each["name"]: each["value"] for each in container(objects)["env"] if "value" in each}


def test_helm_lint_finds_nothing(helm: Callable[..., str]) -> None:
    helm("lint", "--strict", str(CHARTS / "ccl-operator"))


def test_the_generated_rules_are_fresh() -> None:
    text = (CHARTS / "ccl-operator" / "files" / "rules.yaml").read_text()
    assert yaml.safe_load(text) == rbac.rules(), "ccl-operator rbac --rules-only > charts/ccl-operator/files/rules.yaml"


@pytest.mark.parametrize("namespaces", [[], ["loans"], ["loans", "loans-staging"]])
def test_the_rendered_roles_are_those_of_ccl_operator_rbac(render: Render, namespaces: list[str]) -> None:
    rendered = render(watchNamespaces=namespaces)
    wanted = rbac.manifests(namespaces, name="ccl-operator", service_account_namespace="ccl-system")
    found = [each for each in rendered if each["apiVersion"].startswith("rbac.")]
    for each in found:
        del each["metadata"]["labels"]
    key = lambda each: (each["kind"], each["metadata"].get("namespace", ""))  # noqa: E731
    assert sorted(found, key=key) == sorted(wanted, key=key)


def test_watched_namespaces_reach_the_command_line(render: Render) -> None:
    assert container(render(watchNamespaces=["a", "b"]))["args"] == ["run", "--namespace=a", "--namespace=b"]


def test_images_reach_the_operator_by_major_version(render: Render) -> None:
    images = {"postgres": {"16": "pg:16", "17": "pg:17"}, "backup": {"17": "backup:17"}, "redis": "valkey:8"}
    variables = environment(render(images=images))
    assert (
        variables
        | {
            "CCL_IMAGE_POSTGRES_16": "pg:16",
            "CCL_IMAGE_POSTGRES_17": "pg:17",
            "CCL_IMAGE_BACKUP_17": "backup:17",
            "CCL_IMAGE_REDIS": "valkey:8",
        }
        == variables
    )


def test_an_empty_tag_means_the_charts_own_version(render: Render) -> None:
    chart = yaml.safe_load((CHARTS / "ccl-operator" / "Chart.yaml").read_text())
    assert container(render())["image"].endswith(f":{chart['appVersion']}")
    assert container(render(image={"repository": "r/x", "tag": "t"}))["image"] == "r/x:t"


def test_the_operators_pod_follows_the_restricted_profile(render: Render) -> None:
    """Source: kubernetes.io, "Pod Security Standards", Restricted."""
    (deployment,) = of_kind(render(), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(render())["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_two_operators_never_run_side_by_side(render: Render) -> None:
    (deployment,) = of_kind(render(), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    with pytest.raises(HelmRefused, match="replicas"):
        render(replicas=2)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"watchNamespace": ["a"]}, "watchNamespace"),
        ({"image": {"repositry": "x"}}, "repositry"),
        ({"images": {"postgres": {"latest": "x"}}}, "latest"),
        ({"logLevel": "verbose"}, "logLevel"),
        ({"watchNamespaces": ["Not_A_Name"]}, "watchNamespaces"),
    ],
)
def test_a_typo_in_the_values_is_refused_by_name(render: Render, values: dict[str, Any], named: str) -> None:
    with pytest.raises(HelmRefused, match=named):
        render(**values)


def test_every_object_is_in_the_release_namespace_or_cluster_wide(render: Render) -> None:
    for each in render():
        assert each["metadata"].get("namespace", "ccl-system") == "ccl-system"
