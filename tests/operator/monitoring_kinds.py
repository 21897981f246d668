"""The two kinds of the Prometheus operator that we write, as far as their lists matter to server-side apply.

Source: github.com/prometheus-operator, CRDs of monitoring.coreos.com/v1: ``spec.groups`` is a map by ``name``, rules
and endpoints are lists that are compared as a whole.
"""

from typing import Any, Final

from ccl_operator import names
from ccl_operator.actions import Resource
from tests.operator.kubernetes_api import KubernetesApi
from tests.operator.operator_process import until

CRD: Final = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
_FREE: Final[dict[str, Any]] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_GROUPS: Final[dict[str, Any]] = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {**_FREE, "required": ["name"], "properties": {"name": {"type": "string"}}},
}


def install(api: KubernetesApi) -> None:
    """Make both kinds, unless they are there, and wait until they are served."""
    for resource, properties in ((names.POD_MONITOR, {}), (names.PROMETHEUS_RULE, {"groups": _GROUPS})):
        name = f"{resource.plural}.{resource.group}"
        if any(each["metadata"]["name"] == name for each in api.list(CRD, None)):
            continue
        spec = {**_FREE, **({"properties": properties} if properties else {})}
        schema = {"type": "object", "properties": {"spec": spec}}
        version = {"name": resource.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        body = {
            "metadata": {"name": name, "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"}},
            "spec": {
                "group": resource.group,
                "scope": "Namespaced",
                "names": {"kind": resource.kind, "plural": resource.plural, "singular": resource.kind.lower()},
                "versions": [version],
            },
        }
        api.create(CRD, None, body)
        until(f"{name} is established", lambda name=name: _established(api, name))


def remove(api: KubernetesApi) -> None:
    """Take both kinds away again, with all objects."""
    for resource in names.OPTIONAL:
        api.delete(CRD, None, f"{resource.plural}.{resource.group}")


def _established(api: KubernetesApi, name: str) -> bool:
    found = api.get(CRD, None, name)
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
