"""The CRD, generated from the models. Pure.

The API server takes structural schemas only, so pydantic's output is rewritten: references inlined, null branches and
titles dropped. Every list and string must be bounded, or the cost estimate of the CEL rules exceeds its budget a
hundredfold; the generator refuses what is not. Source: kubernetes.io, CustomResourceDefinitions, "Specifying a
structural schema", "Validation rules", "Resource use by validation functions".
"""

from collections.abc import Mapping
from typing import Any, Final

from ccl_operator import names
from ccl_operator.actions import Manifest
from ccl_operator.api.rule import Rule
from ccl_operator.api.rules import RULES
from ccl_operator.api.shape import Shape
from ccl_operator.api.status import Status
from ccl_operator.api.v1alpha1 import Spec

Schema = dict[str, Any]

_KEPT: Final = frozenset(
    {"type", "description", "default", "enum", "pattern", "format", "minimum", "maximum"}
    | {"minLength", "maxLength", "minItems", "maxItems", "maxProperties", "required"}
)

#: With priority 1: only with ``-o wide``.
COLUMNS: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {
        "name": "Ready",
        "type": "integer",
        "jsonPath": ".status.readyReplicas",
        "description": "Web pods that are ready.",
    },
    {"name": "Desired", "type": "integer", "jsonPath": ".spec.replicas", "description": "Web pods that are asked for."},
    # Of all reasons the one that tells most beside the phase: what keeps the wanted version from its traffic.
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Promoted")].reason'},
    {"name": "Image", "type": "string", "jsonPath": ".status.stable.image", "description": "Image of the stable one."},
    {"name": "Backup", "type": "date", "jsonPath": ".status.backup.lastSuccess", "description": "Since the last one."},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Rollout", "type": "string", "jsonPath": ".status.rollout.phase", "priority": 1},
    {"name": "Candidate", "type": "string", "jsonPath": ".status.candidate.image", "priority": 1},
    {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},
)

#: What a HorizontalPodAutoscaler and ``kubectl scale`` read and write.
SCALE: Final[Mapping[str, str]] = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


class Unbounded(ValueError):
    """A string or list without a maximum, at ``path``."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} needs a maximum length")
        self.path = path


def crd() -> Manifest:
    """The CustomResourceDefinition of CclDeployment. Raises Unbounded."""
    owner = names.OWNER
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{owner.plural}.{owner.group}"},
        "spec": {
            "group": owner.group,
            "scope": "Namespaced",
            "names": {
                "kind": owner.kind,
                "listKind": f"{owner.kind}List",
                "plural": owner.plural,
                "singular": owner.kind.lower(),
                "shortNames": ["ccl"],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": owner.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}, "scale": dict(SCALE)},
                    "additionalPrinterColumns": [dict(column) for column in COLUMNS],
                    "schema": {"openAPIV3Schema": _root()},
                }
            ],
        },
    }


def _root() -> Schema:
    root: Schema = {
        "type": "object",
        "description": "A CCL service with all that it needs, run by the operator.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(Spec),
            "status": without_defaults(structural(Status)),
        },
    }
    for rule in RULES:
        _attach(root, rule)
    return root


def structural(model: type[Shape]) -> Schema:
    """The structural schema of a model. Raises Unbounded."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(schema, schema.get("$defs", {}), model.__name__)


def without_defaults(schema: Schema) -> Schema:
    """The same schema without defaults: a status says only what was written."""
    result = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in result:
        result["properties"] = {name: without_defaults(each) for name, each in result["properties"].items()}
    if "items" in result:
        result["items"] = without_defaults(result["items"])
    return result


def _attach(root: Schema, rule: Rule) -> None:
    place = root
    for step in rule.path:
        place = place["properties"][step]
    if rule.entries is not None:
        place = place["items"]
    place.setdefault("x-kubernetes-validations", []).append(rule.validation)


def _convert(schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> Schema:
    schema = _resolve(schema, definitions)
    result: Schema = {key: value for key, value in schema.items() if key in _KEPT and value is not None}
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if result.get("type") == "object":
        properties = schema.get("properties", {})
        if properties:
            result["properties"] = {
                name: _convert(each, definitions, f"{path}.{name}") for name, each in properties.items()
            }
        if isinstance(schema.get("additionalProperties"), Mapping):
            result["additionalProperties"] = _convert(schema["additionalProperties"], definitions, f"{path}[]")
            _bounded(result, "maxProperties", path)
        if "default" in result:
            result["default"] = _sparse(result["default"], result)
    elif result.get("type") == "array":
        result["items"] = _convert(schema["items"], definitions, f"{path}[]")
        _bounded(result, "maxItems", path)
        if "default" in result:
            result["default"] = [_trimmed(each, result["items"]) for each in result["default"]]
    elif result.get("type") == "string" and "enum" not in result and result.get("format") != "date-time":
        _bounded(result, "maxLength", path)
    return result


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow references and drop null branches; what stands beside a reference (description, default) wins."""
    branches = [each for each in schema.get("anyOf", []) if each.get("type") != "null"]
    if branches:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return _resolve({**branches[0], **rest}, definitions)
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _resolve({**definitions[schema["$ref"].removeprefix("#/$defs/")], **rest}, definitions)
    return schema


def _sparse(default: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """A default without what the defaults of its fields say anyway: the API server fills those in by itself."""
    fields = schema.get("properties", {})
    result: dict[str, Any] = {}
    for key, value in default.items():
        # The entries of a map have no schema of their own.
        wanted = _trimmed(value, fields.get(key, {}))
        if value is not None and wanted != fields.get(key, {}).get("default"):
            result[key] = wanted
    return result


def _trimmed(value: Any, schema: Schema) -> Any:
    return _sparse(value, schema) if isinstance(value, Mapping) else value


def _bounded(schema: Schema, bound: str, path: str) -> None:
    if bound not in schema:
        raise Unbounded(path)
