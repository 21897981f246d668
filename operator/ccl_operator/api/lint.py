"""What the API server would refuse of a CclDeployment, or would drop without a word; told without a cluster. Pure.

The shape is that of the generated CRD, the rules are those of ``api.rules``. Transition rules need the object before
the change, and are the API server's alone. No finding quotes a value.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from ccl_operator import names
from ccl_operator.actions import Manifest
from ccl_operator.api import forms
from ccl_operator.api.conformance import ANYTHING, Conformance, Finding, Schema, pruned
from ccl_operator.api.rules import broken
from ccl_operator.api.schema import crd
from ccl_operator.api.v1alpha1 import SpecRefused, parse_spec

_STRING: Final = {"type": "string"}
_STRINGS: Final = {"type": "object", "additionalProperties": _STRING}
_ENTRIES: Final = {"type": "array", "items": {"type": "object", ANYTHING: True}}
#: Source: kubernetes.io, API reference, ObjectMeta.
_METADATA: Final[Schema] = {
    "type": "object",
    "properties": {
        "name": _STRING,
        "generateName": _STRING,
        "namespace": {"type": "string", "pattern": forms.NAMESPACE, "maxLength": 63},
        "labels": _STRINGS,
        "annotations": _STRINGS,
        "finalizers": {"type": "array", "items": _STRING},
        "ownerReferences": _ENTRIES,
        "managedFields": _ENTRIES,
        "uid": _STRING,
        "resourceVersion": _STRING,
        "selfLink": _STRING,
        "creationTimestamp": _STRING,
        "deletionTimestamp": _STRING,
        "generation": {"type": "integer"},
        "deletionGracePeriodSeconds": {"type": "integer"},
    },
}
#: What the API server puts behind ``generateName`` is as long.
_GENERATED: Final = "xxxxx"


def is_ours(manifest: Manifest) -> bool:
    """Whether it is meant to be a CclDeployment: the kind or the group says so."""
    return manifest.get("kind") == names.OWNER.kind or str(manifest.get("apiVersion")).startswith(f"{names.GROUP}/")


def lint(manifest: Manifest) -> tuple[Finding, ...]:
    """Everything that is wrong with a CclDeployment: its shape first, then the rules; empty when nothing is."""
    shape = (*_identity(manifest), *_conformance().findings(manifest))
    try:
        spec = parse_spec(pruned(manifest, _schema()))
    except SpecRefused as refused:
        # What only the models refuse: the API server takes it, the operator does not.
        told = [Finding(("spec",), problem.removeprefix("spec.")) for problem in refused.problems]
        return shape or tuple(told)
    # Of the whole object, a rule sees only the name and the specification.
    rules = broken(_name(manifest), spec)
    return (*shape, *(Finding(place or ("metadata", "name"), message) for place, message in rules))


def _identity(manifest: Manifest) -> Iterator[Finding]:
    for field, wanted in (("apiVersion", names.OWNER.api_version), ("kind", names.OWNER.kind)):
        if manifest.get(field) != wanted:
            yield Finding((field,), f"must be {wanted}")
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        yield Finding(("metadata", "name"), "is missing")


def _name(manifest: Manifest) -> str:
    """The name that the rules judge; one that is missing or no text has its finding already."""
    metadata = manifest.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    start = given.get("generateName")
    name = given.get("name") or (f"{start}{_GENERATED}" if start else None)
    return name if isinstance(name, str) else names.OWNER.kind.lower()


@cache
def _schema() -> Schema:
    root: dict[str, Any] = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    status = {"type": "object", ANYTHING: True}  # what is applied of it is dropped, as the operator writes it
    return {**root, "properties": {**root["properties"], "metadata": _METADATA, "status": status}}


@cache
def _conformance() -> Conformance:
    return Conformance(_schema())
