"""The two kinds of the Prometheus operator that we write, as far as their lists matter to server-side apply.

Source: github.com/prometheus-operator, CRDs of monitoring.coreos.com/v1: ``spec.groups`` is a map by ``name``, rules
and endpoints are lists that are compared as a whole.
"""

from functools import partial
from typing import Any, Final

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.runtime.client import path
from tests.operator.kubernetes_api import ApiAnswer, Json, KubernetesApi
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
        if _find(api, name) is not None:
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
        until(f"{name} is established", partial(_is_established, api, name))


def remove(api: KubernetesApi) -> None:
    """Take both kinds away again, with all objects, and wait until they are gone."""
    for resource in names.OPTIONAL:
        name = f"{resource.plural}.{resource.group}"
        if _find(api, name) is not None:
            api.call("DELETE", path(CRD, None, name))
        until(f"{name} is gone", partial(_is_gone, api, name))


def _find(api: KubernetesApi, name: str) -> Json | None:
    try:
        return api.call("GET", path(CRD, None, name))
    except ApiAnswer as answer:
        if answer.status == 404:
            return None
        raise


def _is_gone(api: KubernetesApi, name: str) -> bool:
    return _find(api, name) is None


def _is_established(api: KubernetesApi, name: str) -> bool:
    conditions = ((_find(api, name) or {}).get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
