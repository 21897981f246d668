"""Which Secrets a CclDeployment names. Reads the raw object, so that it also works on a spec that is refused."""

from collections.abc import Mapping
from typing import Any

from ccl_operator.actions import Manifest


def secret_names(owner: Manifest) -> tuple[str, ...]:
    """Names of all Secrets that the spec refers to, sorted, each once; empty when there is none."""
    return tuple(sorted(set(_names(owner.get("spec")))))


def _names(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for item in value for name in _names(item)]
    if not isinstance(value, Mapping):
        return []
    found: list[str] = []
    for key, item in value.items():
        if key == "secretRef" and isinstance(item, str):
            found.append(item)
        elif key == "secretKeyRef" and isinstance(item, Mapping) and isinstance(item.get("name"), str):
            found.append(item["name"])
        else:
            found.extend(_names(item))
    return found
