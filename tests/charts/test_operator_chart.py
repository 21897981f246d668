"""The operator's chart: what it renders, what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from ccl_operator import names
from ccl_operator.config import Config, Pace
from ccl_operator.environment import PORT
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
    key = lambda each: (each["kind"], each["metadata"]["name"], each["metadata"].get("namespace", ""))  # noqa: E731
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


def test_the_pace_towards_the_api_server_reaches_the_operator_which_takes_the_least_and_the_most(
    render: Render,
) -> None:
    assert Config.from_environment(environment(render())).pace == Pace()
    wanted = {"writesPerSecond": 1, "readsPerSecond": 1000}
    assert Config.from_environment(environment(render(apiServer=wanted))).pace == Pace(writes=1, reads=1000)


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


def test_by_default_two_replicas_are_spread_and_one_may_be_away(render: Render) -> None:
    objects = render()
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["replicas"] == 2
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for spread in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway", "one node is enough"
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_an_upgrade_never_leaves_less_than_the_wanted_replicas(render: Render) -> None:
    (deployment,) = of_kind(render(replicas=1), "Deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_one_replica_gets_no_budget(render: Render) -> None:
    assert of_kind(render(replicas=1), "PodDisruptionBudget") == []
    assert of_kind(render(podDisruptionBudget=False), "PodDisruptionBudget") == []


def test_all_replicas_know_the_lease_that_their_role_allows(render: Render) -> None:
    objects = render()
    lease = environment(objects)["CCL_LEASE"]
    (role,) = of_kind(objects, "Role")
    assert role["rules"] == rbac.lease_rules(lease)
    assert role["metadata"]["namespace"] == "ccl-system"


def test_the_network_policy_is_asked_for(render: Render) -> None:
    assert of_kind(render(), "NetworkPolicy") == []


def test_a_network_policy_opens_metrics_to_whom_it_says_and_leaves_egress_open(render: Render) -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    (policy,) = of_kind(render(networkPolicy={"enabled": True, "metricsFrom": [monitoring]}), "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"]["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}], "from": [monitoring]}]


def test_with_the_api_servers_address_egress_is_narrowed_to_it_service_pods_and_dns(render: Render) -> None:
    values = {"enabled": True, "apiServerCIDRs": ["10.0.0.1/32"], "apiServerPorts": [6443]}
    (policy,) = of_kind(render(networkPolicy=values), "NetworkPolicy")
    server, pods, dns = policy["spec"]["egress"]
    assert server == {
        "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
        "ports": [{"port": 6443, "protocol": "TCP"}],
    }
    assert pods["ports"] == [{"port": PORT, "protocol": "TCP"}]
    chosen = pods["to"][0]["podSelector"]
    assert chosen["matchLabels"].items() <= names.labels("any").items()
    asked = {"key": names.COMPONENT_LABEL, "operator": "In", "values": [names.JOBS, names.WEB]}
    assert chosen["matchExpressions"] == [asked]
    assert {each["port"] for each in dns["ports"]} == {53}


@pytest.mark.parametrize("value", ["topologySpreadConstraints", "tolerations"])
def test_lists_for_the_scheduler_reach_the_pod(render: Render, value: str) -> None:
    wanted = [{"topologyKey": "x", "key": "x"}]
    (deployment,) = of_kind(render(**{value: wanted}), "Deployment")
    assert deployment["spec"]["template"]["spec"][value] == wanted


def test_placement_and_priority_reach_the_pod(render: Render) -> None:
    values = {
        "nodeSelector": {"disk": "ssd"},
        "priorityClassName": "system-cluster-critical",
        "affinity": {"nodeAffinity": {}},
    }
    (deployment,) = of_kind(render(**values, podAnnotations={"a": "b"}), "Deployment")
    template = deployment["spec"]["template"]
    assert values.items() <= template["spec"].items()
    assert template["metadata"]["annotations"] == {"a": "b"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"watchNamespace": ["a"]}, "watchNamespace"),
        ({"image": {"repositry": "x"}}, "repositry"),
        ({"images": {"postgres": {"latest": "x"}}}, "latest"),
        ({"logLevel": "verbose"}, "logLevel"),
        ({"watchNamespaces": ["Not_A_Name"]}, "watchNamespaces"),
        ({"replicas": 9}, "replicas"),
        ({"apiServer": {"writesPerSecond": 0}}, "writesPerSecond"),
        ({"apiServer": {"readsPerSecond": 1001}}, "readsPerSecond"),
        ({"apiServer": {"qps": 50}}, "qps"),
        ({"networkPolicy": {"apiServerCIDRs": ["anywhere"]}}, "apiServerCIDRs"),
    ],
)
def test_a_typo_in_the_values_is_refused_by_name(render: Render, values: dict[str, Any], named: str) -> None:
    with pytest.raises(HelmRefused, match=named):
        render(**values)


def test_every_object_is_in_the_release_namespace_or_cluster_wide(render: Render) -> None:
    for each in render():
        assert each["metadata"].get("namespace", "ccl-system") == "ccl-system"
