"""Does a live object still have the form we want? Pure.

Compared is the wanted manifest with those fields of the live object that ``managedFields`` assigns to our manager. So
every rendered field is watched (whoever changes one takes its ownership from us), and fields of others do not matter.
Source: kubernetes.io, "Server-Side Apply", field management; the format is structured-merge-diff's FieldsV1:
``f:<name>`` a field, ``k:<json>`` an item of a list by its key fields, ``v:<json>`` an item of a set, ``{}`` a leaf.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ccl_operator.actions import Manifest
from ccl_operator.ownership import is_our_apply

#: Says what the object is; not among the managed fields.
IDENTITY: Final = frozenset({"apiVersion", "kind"})
NAMING: Final = frozenset({"name", "namespace"})
NEVER_APPLIED: Final = ("not applied by this operator yet",)


def drift(wanted: Manifest, live: Manifest) -> tuple[str, ...]:
    """Paths of the fields that differ, in the order of the manifest; empty when nothing would change.

    Paths only, never values: they go into logs, and a Secret's values must not.
    """
    owned = _owned(live)
    if owned is None:
        return NEVER_APPLIED
    metadata = {name: value for name, value in wanted["metadata"].items() if name not in NAMING}
    rest = {name: value for name, value in wanted.items() if name not in IDENTITY and name != "metadata"}
    owned_rest = {field: below for field, below in owned.items() if field != "f:metadata"}
    return (
        *_fields(".metadata", metadata, live["metadata"], owned.get("f:metadata") or {}),
        *_fields("", rest, live, owned_rest),
    )


def _owned(live: Manifest) -> Mapping[str, Any] | None:
    for entry in live["metadata"].get("managedFields") or ():
        if is_our_apply(entry):
            found: Mapping[str, Any] = entry.get("fieldsV1") or {}
            return found
    return None


def _differences(path: str, wanted: Any, live: Any, owned: Mapping[str, Any]) -> Iterator[str]:
    if not owned:
        if not _same_leaf(wanted, live):
            yield path
    elif isinstance(wanted, Mapping) and isinstance(live, Mapping):
        yield from _fields(path, wanted, live, owned)
    elif _is_list(wanted) and _is_list(live):
        yield from _items(path, wanted, live, owned)
    else:
        yield path


def _fields(path: str, wanted: Mapping[str, Any], live: Mapping[str, Any], owned: Mapping[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        field = f"f:{name}"
        if field in owned:
            yield from _differences(f"{path}.{name}", value, live.get(name), owned[field])
        elif not _says_nothing(value):
            yield f"{path}.{name}"
    for field in owned:
        if field.startswith("f:") and _says_nothing(wanted.get(field[2:])) and field[2:] in live:
            yield f"{path}.{field[2:]}"


def _items(path: str, wanted: Sequence[Any], live: Sequence[Any], owned: Mapping[str, Any]) -> Iterator[str]:
    seen: list[int] = []
    for selector, below in owned.items():
        if selector == ".":
            continue
        position = _find(selector, wanted)
        if position is None:
            yield f"{path}[{selector[2:]}]"
            continue
        seen.append(position)
        counterpart = _find(selector, live)
        found = None if counterpart is None else live[counterpart]
        yield from _differences(f"{path}[{selector[2:]}]", wanted[position], found, below)
    for position in range(len(wanted)):
        if position not in seen:
            yield f"{path}[{position}]"


def _find(selector: str, items: Sequence[Any]) -> int | None:
    wanted = json.loads(selector[2:])
    for position, item in enumerate(items):
        if selector.startswith("v:"):
            if item == wanted:
                return position
        elif isinstance(item, Mapping) and all(item.get(name) == value for name, value in wanted.items()):
            return position
    return None


def _same_leaf(wanted: Any, live: Any) -> bool:
    if wanted == live:
        return True
    if isinstance(wanted, Mapping) and not wanted:
        # `emptyDir: {}` is answered with the defaults of what it switches on.
        return isinstance(live, Mapping)
    if _says_nothing(wanted):
        return _says_nothing(live)
    return bool(plain(wanted) == live)


def _says_nothing(value: Any) -> bool:
    """The API server drops these from what it stores."""
    return value is None or (not value and _is_list(value))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def plain(value: Any) -> Any:
    """As JSON would give it back: lists for tuples, dicts for mappings."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if _is_list(value):
        return [plain(item) for item in value]
    return value
