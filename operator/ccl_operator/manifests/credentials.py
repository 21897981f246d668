"""Secrets and the ConfigMap. Pure; what stands in them is decided in ``secrets`` and ``environment``."""

from collections.abc import Mapping
from typing import Any

from ccl_operator import names
from ccl_operator.environment import MONITOR_TOKEN
from ccl_operator.manifests.meta import Target, child, encoded


def keys(target: Target, values: Mapping[str, str]) -> dict[str, Any]:
    """The generated keys and the deployment's identity; they outlive the object."""
    return child(names.SECRET, target, names.keys(target.instance), _opaque(values), kept=True)


def monitor(target: Target, token: str) -> dict[str, Any]:
    """The token by which the operator asks for readiness and Prometheus for metrics."""
    return child(names.SECRET, target, names.monitor(target.instance), _opaque({MONITOR_TOKEN: token}))


def postgres(target: Target, values: Mapping[str, str]) -> dict[str, Any]:
    """Account and URL of the embedded database; they outlive the object, as its volume does."""
    name = names.postgres(target.instance)
    return child(names.SECRET, target, name, _opaque(values), component=names.POSTGRES, kept=True)


def ext(target: Target, revision: str, values: Mapping[str, str]) -> dict[str, Any]:
    """A revision's copy of the referenced values: an invalid edit of the source never reaches a pod."""
    body = {**_opaque(values), "immutable": True}
    return child(names.SECRET, target, names.ext(target.instance, revision), body, revision=revision)


def env(target: Target, revision: str, values: Mapping[str, str]) -> dict[str, Any]:
    """A revision's variables."""
    body = {"data": dict(sorted(values.items())), "immutable": True}
    return child(names.CONFIG_MAP, target, names.env(target.instance, revision), body, revision=revision)


def _opaque(values: Mapping[str, str]) -> dict[str, Any]:
    return {"type": "Opaque", "data": encoded(values)}
